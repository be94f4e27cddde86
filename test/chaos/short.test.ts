/** The one-minute form of the chaos suite, where every change is tested. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { cleanEnvironment } from '../support/cli.ts'

test('nothing is lost in a minute of chaos', { timeout: 400_000 }, async () => {
  const script = fileURLToPath(new URL('run.mjs', import.meta.url))
  const child = spawn(process.execPath, [script, '--corto'], {
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // It ends its servers and workers by itself.
  onTestFinished(() => void child.kill('SIGTERM'))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data
    })
  }
  const code = await new Promise((resolve) => child.once('close', resolve))
  expect(code, output).toBe(0)
})

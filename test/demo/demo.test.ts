/** `npm run demo` tells its story, ends by itself and leaves nothing behind, also when it is interrupted. */
import { spawn } from 'node:child_process'
import { chmod, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test as base, expect } from 'vitest'
import { cleanEnvironment, runProgram } from '../support/cli.ts'
import { until } from '../support/until.ts'

const demo = fileURLToPath(new URL('run.mjs', import.meta.url))

/** A temporary folder of its own: whatever the demo starts works in it, and is recognised by it. */
const test = base.extend<{ place: string }>({
  // biome-ignore lint/correctness/noEmptyPattern: Vitest reads the dependencies from the pattern.
  place: async ({}, use) => {
    const place = await mkdtemp(join(tmpdir(), 'resthooks-prueba-demo-'))
    await chmod(place, 0o755) // Postgres runs as another user where root runs the tests.
    await use(place)
    await rm(place, { recursive: true, force: true })
  },
})

async function processesIn(place: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const described = await Promise.all(
    pids.map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      return `${pid} ${command.replaceAll('\0', ' ')} (${folder})`
    }),
  )
  return described.filter((text) => text.includes(place))
}

test.concurrent('shows a retried and a failed message and the summary, in less than a minute', {
  timeout: 90_000,
}, async ({ place }) => {
  const startedAt = Date.now()
  const run = await runProgram(process.execPath, [demo], { env: { TMPDIR: place }, timeout: 80_000 })
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect(Date.now() - startedAt).toBeLessThan(60_000)
  for (const part of [
    '$ resthooks crear-base',
    '$ resthooks ver',
    'reintento',
    'exitosa',
    'fallida',
    'on_failure',
    '403',
  ]) {
    expect(run.stdout).toContain(part)
  }
  expect(await processesIn(place)).toEqual([])
  expect(await readdir(place)).toEqual([])
})

test.concurrent('ends what it started when it is interrupted', { timeout: 120_000 }, async ({ place }) => {
  const env = cleanEnvironment({ TMPDIR: place })
  const child = spawn(process.execPath, [demo], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  try {
    await until(() => output.includes('intento 1'), { timeout: 60_000, what: 'the first request of the demo' })
    expect(await processesIn(place)).not.toEqual([])
    child.kill('SIGINT')
    expect(await ended).toBe(130)
  } finally {
    child.kill('SIGKILL')
  }
  expect(await processesIn(place)).toEqual([])
  expect(await readdir(place)).toEqual([])
})

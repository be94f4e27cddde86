/** The daemon's log: what it tells of an error, and what it withholds. */
import { expect, test } from 'vitest'
import { Secrets } from '../../src/model/secrets.ts'
import { createLog } from '../../src/worker/log.ts'

test('an error is told without what hangs on it, known secrets and terminal escapes are replaced', () => {
  let text = ''
  const stream = { isTTY: true, write: (line: string) => (text += line) } as unknown as NodeJS.WriteStream
  const log = createLog({}, new Secrets(['clave-secreta']), undefined, stream)
  // As ioredis makes them.
  const command = { name: 'settle', args: ['contenido ajeno', 'otra cosa'] }
  const cause = Object.assign(new Error('causa con clave-secreta'), { code: 'ECONNRESET', command })
  log.error({ err: Object.assign(new Error('falló', { cause }), { command }) }, 'no se pudo \u001b[31m\u202e')
  log.child({ listener: 'a' }).warn({ detalle: 'clave-secreta' }, 'con "clave-secreta"')
  expect(text).not.toMatch(/clave-secreta|contenido ajeno|otra cosa|[^\P{Cc}\n]|\p{Bidi_C}/u)
  for (const part of ['falló', 'causa con ***', 'ECONNRESET', 'detalle=***', 'con "***"', 'no se pudo \\u001b[31m'])
    expect(text).toContain(part)
})

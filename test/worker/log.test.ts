/** The daemon's log: what it tells of an error, and what it withholds. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { Secrets } from '../../src/model/secrets.ts'
import type { Pause } from '../../src/queue/pauses.ts'
import { createLog, logPauses } from '../../src/worker/log.ts'

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

test('a warning that comes again is counted, and told with its count; what differs, and what only informs, is told each time', () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const lines: string[] = []
  const stream = { isTTY: true, write: (line: string) => lines.push(line) } as unknown as NodeJS.WriteStream
  const log = createLog({}, new Secrets(), 'info', stream)
  for (let i = 0; i < 5; i++) log.warn({ listener: 'a' }, 'lo mismo')
  log.warn({ listener: 'b' }, 'lo mismo')
  log.info({}, 'aparte')
  log.info({}, 'aparte')
  expect(lines.map((line) => line.slice(line.indexOf(' ') + 1).trim())).toEqual([
    'warn  lo mismo  listener=a',
    'warn  lo mismo  listener=b',
    'info  aparte',
    'info  aparte',
  ])
  vi.advanceTimersByTime(11_000)
  expect(lines.slice(4).join('')).toMatch(/warn {2}lo mismo {2}listener=a {2}repetida=4\n$/)
})

test('a pause is told once by who made it, and its end; a 410 is told with its delivery', () => {
  const lines: string[] = []
  const stream = { isTTY: true, write: (line: string) => lines.push(line) } as unknown as NodeJS.WriteStream
  const log = createLog({}, new Secrets(), 'info', stream)
  const pause: Pause = { until: null, since: null, by: 'ana@vm', reason: 'manual' }
  const paused = new Map([['a', pause]])
  logPauses(log, new Map(), paused)
  logPauses(log, paused, new Map(paused))
  logPauses(log, paused, new Map([...paused, ['b', { ...pause, reason: '410', by: null }]]))
  logPauses(log, paused, new Map())
  expect(lines).toMatchObject([
    expect.stringMatching(/listener pausado.*listener=a.*por=ana@vm/),
    expect.stringMatching(/listener reanudado.*listener=a/),
  ])
})

/** `send` once, the whole process: what a script or a PHP program waits for. */
import { Installation } from '../installation.ts'
import { body } from '../payload.ts'
import { peerFile } from '../program.ts'
import type { Row } from '../row.ts'
import { type Command, timesOf, together } from '../timed.ts'

const OWN = 'resthooks send'
const NODE = 'límite: node -e 0'
/** Turns of a round; a process takes tens of ms. */
const TURNS = 10

export const send: Row = {
  name: 'send',
  title: '«send» una vez, el proceso entero, cuerpo de 1 KB',
  lines: [{ key: 'ms', label: 'duración', unit: 'ms' }],
  goals: () => [{ kind: 'ratio', line: 'ms', who: OWN, to: NODE, most: 1.5 }],
  contenders: async (bench) => {
    const installation = await Installation.create(bench, {
      'listener uno': { url: `${bench.nginx.url}/uno` },
    })
    const { host, port } = bench.redis
    const text = body(1)
    const commands: readonly (Command & { who: string; role: 'own' | 'peer' | 'limit' })[] = [
      {
        who: OWN,
        role: 'own',
        program: process.execPath,
        args: [bench.program, 'send', 'compra.alta', text],
        env: installation.environment,
      },
      {
        who: 'ioredis + commander',
        role: 'peer',
        program: process.execPath,
        args: [peerFile('plain-send'), 'send', 'compra.alta', text, '--host', host, '--port', String(port)],
      },
      { who: NODE, role: 'limit', program: process.execPath, args: ['-e', '0'] },
      {
        who: 'límite: redis-cli lpush',
        role: 'limit',
        program: 'redis-cli',
        args: ['-h', host, '-p', String(port), 'lpush', 'banco', text],
      },
    ]
    await bench.fresh()
    const measures = together(commands.length, () => timesOf(commands, TURNS))
    return commands.map(({ who, role }, i) => ({
      who,
      role,
      measure: async () => ({ ms: await measures[i]!() }),
      ...(role === 'own'
        ? {
            end: async () => {
              const enqueued = await bench.client.llen(installation.keys.inbox)
              await installation.end()
              if (enqueued === 0 || enqueued % TURNS !== 0) throw new Error(`send enqueued ${enqueued} messages`)
            },
          }
        : {}),
    }))
  },
}

/** Audited deliveries a second with a body of 1 KB: against the peers and the limit, and with more of everything. */
import { bareRate, bullmqRate, graphileRate, oneListener, ownRate, type RateSetting } from '../contenders.ts'
import type { Line, Row } from '../row.ts'
import type { Bench } from '../scene.ts'
import { sumOfParts } from './parts.ts'

const OWN = 'resthooks'
const BARE = 'límite: undici solo'

/** Where the CPU of a delivery goes. */
const PARTS: readonly Line[] = [
  { key: 'main', label: '  del hilo principal', unit: 'us' },
  { key: 'helpers', label: '  de los hilos auxiliares de V8', unit: 'us' },
  { key: 'later', label: '  del hilo de auditoría y de libuv', unit: 'us' },
  { key: 'redis', label: '  de Redis', unit: 'us' },
  { key: 'postgres', label: '  de Postgres', unit: 'us' },
  { key: 'nginx', label: '  de nginx', unit: 'us' },
]

export const entregas: Row = {
  name: 'entregas',
  title: 'Entregas auditadas, 1 proceso, cuerpo de 1 KB, 1 listener',
  lines: [
    { key: 'rate', label: 'entregas', unit: 'per second' },
    { key: 'ownCpu', label: 'CPU propia por entrega', unit: 'us' },
    { key: 'allCpu', label: 'CPU total por entrega', unit: 'us' },
    ...PARTS,
  ],
  goals: () => [
    { kind: 'ratio', line: 'rate', who: OWN, to: { peers: 'highest' }, least: 1.5 },
    { kind: 'ratio', line: 'allCpu', who: OWN, to: BARE, most: 5 },
    { kind: 'ratio', line: 'redis', who: OWN, to: BARE, toLine: { key: 'allCpu', label: 'CPU total' }, most: 1 },
  ],
  contenders: async (bench) => [
    await ownRate(bench, { who: OWN, listeners: oneListener(bench) }),
    await bullmqRate(bench, 'one by one', 'BullMQ + undici, un INSERT por trabajo'),
    await bullmqRate(bench, 'batched', 'BullMQ + undici, INSERT por lotes'),
    await graphileRate(bench, 'graphile-worker + undici, INSERT por lotes'),
    bareRate(bench, BARE),
    await sumOfParts(bench, 'límite: suma de las partes'),
  ],
}

// The same work with more processes, more listeners, or more deliveries a message: nothing of the total rate may be lost.
const BASE = '1 proceso, 1 listener'
const FAN_OUT = 'abanico 1→5'
const OTHERS = ['2 procesos', '4 procesos', '20 listeners', FAN_OUT] as const
/** Deliveries of one message share its envelope, its row and its dispatch. */
const FAN_OUT_GAIN = 2
/** Two medians of the same thing differ by this much on a quiet machine. */
const NOISE = 0.95

export const escala: Row = {
  name: 'escala',
  title:
    'Entregas auditadas de resthooks con más procesos, más listeners y abanico (meta: sin pérdida, con 5 % de ruido; el abanico, el doble)',
  lines: [
    { key: 'rate', label: 'entregas', unit: 'per second' },
    { key: 'allCpu', label: 'CPU total por entrega', unit: 'us' },
    ...PARTS,
  ],
  goals: () =>
    OTHERS.map((who) => {
      const least = who === FAN_OUT ? FAN_OUT_GAIN : NOISE
      return { kind: 'ratio', line: 'rate', who, to: BASE, least } as const
    }),
  contenders: async (bench) => {
    const one = oneListener(bench)
    const settings: RateSetting[] = [
      { who: BASE, listeners: one },
      { who: OTHERS[0], listeners: one, processes: 2 },
      { who: OTHERS[1], listeners: one, processes: 4 },
      {
        who: OTHERS[2],
        listeners: listeners(bench, 20, (number) => `compra.${number}`),
        eventOf: (number) => `compra.${number % 20}`,
      },
      { who: OTHERS[3], listeners: listeners(bench, 5, () => '*'), fanOut: 5 },
    ]
    const contenders = []
    for (const setting of settings) contenders.push(await ownRate(bench, setting))
    return contenders
  },
}

/** Together they may make as many requests at once as the worker. */
function listeners({ nginx, options }: Bench, count: number, eventsOf: (number: number) => string) {
  const concurrencia = Math.max(1, Math.ceil(options.concurrency / count))
  return Object.fromEntries(
    Array.from({ length: count }, (_, number) => [
      `listener l${number}`,
      { url: `${nginx.url}/l${number}`, eventos: eventsOf(number), concurrencia },
    ]),
  )
}

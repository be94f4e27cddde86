/** Audited deliveries a second: one process, a body of 1 KB, one listener. */
import { bareRate, bullmqRate, graphileRate, oneListener, ownRate } from '../contenders.ts'
import type { Row } from '../row.ts'

const OWN = 'resthooks'
const LIMIT = 'límite: undici solo'

export const entregas: Row = {
  name: 'entregas',
  title: 'Entregas auditadas, 1 proceso, cuerpo de 1 KB, 1 listener',
  lines: [
    { key: 'rate', label: 'entregas', unit: 'per second' },
    { key: 'ownCpu', label: 'CPU propia por entrega', unit: 'us' },
    { key: 'allCpu', label: 'CPU total por entrega', unit: 'us' },
  ],
  goals: () => [
    { kind: 'ratio', line: 'rate', who: OWN, to: { peers: 'highest' }, least: 3 },
    { kind: 'ratio', line: 'rate', who: OWN, to: LIMIT, least: 0.6 },
  ],
  contenders: async (bench) => [
    await ownRate(bench, { who: OWN, listeners: oneListener(bench) }),
    await bullmqRate(bench, 'one by one', 'BullMQ + undici, un INSERT por trabajo'),
    await bullmqRate(bench, 'batched', 'BullMQ + undici, INSERT por lotes'),
    await graphileRate(bench, 'graphile-worker + undici, INSERT por lotes'),
    await bareRate(bench, LIMIT),
  ],
}

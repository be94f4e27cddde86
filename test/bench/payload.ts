/** The messages of the benchmark: a JSON body of 1 KB, as a purchase or a supplier has it. */
import { ulid } from 'ulid'
import { encodeEnvelope } from '../../src/queue/envelope-write.ts'

export const BODY_BYTES = 1024

const ITEM =
  '{"codigo":"4.3.9.6","detalle":"Insumos de laboratorio, reactivos y material descartable","importe":"18450.75"}'

/** JSON of exactly `BODY_BYTES` bytes. */
export function body(number: number): string {
  const items = Array.from({ length: 8 }, () => ITEM).join(',')
  const head = `{"id":${number},"items":[${items}],"observaciones":"`
  return `${head}${'x'.repeat(BODY_BYTES - head.length - 2)}"}`
}

/** An entry of the queue, as `send` writes it. */
export function envelope(event: string, text: string, id = ulid()): string {
  return encodeEnvelope({
    id,
    event,
    body: Buffer.from(text),
    contentType: 'application/json',
    method: null,
    path: null,
    headers: {},
    createdAt: new Date(),
    key: null,
    origin: 'banco resthooks send',
    onlyListener: null,
    notBefore: null,
    depth: 0,
  })
}

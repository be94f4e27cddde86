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

/** A request that succeeded, and all that is known of it. */
export function attempt(messageId: string, listener: string, at: number, answer = '{"ok":true}') {
  return {
    id: ulid(),
    messageId,
    event: null,
    listener,
    number: 1,
    request: 1,
    startedAt: at,
    durationMs: 12,
    phases: { primer_byte: 11 },
    method: 'POST',
    url: 'https://diaguita.example.edu.ar/rest/proveedores',
    ip: '127.0.0.1',
    requestHeaders: {
      'content-type': 'application/json',
      'user-agent': 'resthooks/0.1.0',
      'webhook-id': messageId,
      'webhook-timestamp': String(Math.floor(at / 1000)),
      'x-resthooks-evento': 'compra.alta',
      'x-resthooks-intento': '1',
    },
    status: 200,
    responseHeaders: {
      server: 'nginx/1.22.1',
      date: new Date(at).toUTCString(),
      'content-type': 'application/json',
      'content-length': String(answer.length),
      connection: 'keep-alive',
    },
    responseBody: Buffer.from(answer),
    responseTruncated: false,
    error: null,
    errorDetail: null,
    result: 'exito' as const,
    nextAttemptAt: null,
    worker: 'servidor:1234:abcdef',
  }
}

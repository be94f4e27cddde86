/**
 * Listeners that answer what no server should: each misbehaves at the first attempt of every message and is well from
 * then on, and one that is well all the time must not notice.
 */
import { createServer as createTls } from 'node:https'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { makeCertificates, openssl } from '../../support/certificates.ts'
import type { Arena } from '../arena.ts'
import type { Cast, Role } from '../cast.ts'
import { atEnd } from '../program.ts'
import type { Behaviour } from '../wire.ts'
import { type Fault, sleep } from './fault.ts'

/** Raw bytes instead of an answer; the connection ends with them. */
function raw(text: string | Buffer, after: 'end' | 'reset' = 'end'): Behaviour {
  return (_request, response) => {
    const socket = response.socket
    socket?.write(text, () => (after === 'end' ? socket.end() : socket.resetAndDestroy()))
    return undefined
  }
}

/** Raw bytes that are a whole, if strange, answer of 200. */
function strange(text: string | Buffer): Behaviour {
  return (request, response) => {
    response.socket?.end(text, () => {
      request.status = 200
      request.answeredAt = Date.now()
    })
    return undefined
  }
}

const once =
  (first: Behaviour): Behaviour =>
  (request, response, incoming) =>
    request.attempt === 1 ? first(request, response, incoming) : { status: 200 }

const drip: Behaviour = (_request, response) => {
  response.writeHead(200)
  const timer = setInterval(() => response.write('.'), 1000)
  response.once('close', () => clearInterval(timer))
  return undefined
}

const gigabyte: Behaviour = (request, response) => {
  // Past max_respuesta it is not read: a success, cut short.
  request.status = 200
  request.answeredAt = Date.now()
  response.writeHead(200, { 'content-length': String(1024 ** 3) })
  const chunk = Buffer.alloc(1024 * 1024, 'x')
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  }
  response.on('drain', more)
  more()
  return undefined
}

/** 256 MB in a quarter of one: packed once, as packing takes longer than a listener may. */
const packed = lazily(() => {
  const part = gzipSync(Buffer.alloc(16 * 1024 * 1024))
  return Buffer.concat(Array.from({ length: 16 }, () => part))
})

const bomb: Behaviour = (request, response) => {
  request.status = 200
  request.answeredAt = Date.now()
  response.writeHead(200, { 'content-encoding': 'gzip' })
  response.end(packed())
  return undefined
}

function lazily<T>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
  }
}

const loop: Behaviour = () => ({ status: 307, headers: { location: '/otra-vez' } })

/** Answers, and closes the idle socket about when it is used again. */
const closes: Behaviour = (_request, response) => {
  const { socket } = response
  response.once('finish', () => setTimeout(() => socket?.destroy(), Math.random() * 6))
  return { status: 200 }
}

const HEADERS = Array.from({ length: 400 }, (_, i) => `X-Muchas-${i}: ${'v'.repeat(20)}\r\n`).join('')

const BROKEN: Readonly<Record<string, Behaviour>> = {
  reset: once((_request, response) => {
    response.socket?.resetAndDestroy()
    return undefined
  }),
  cortada: once(raw('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nmedia', 'reset')),
  muda: once(() => undefined),
  gotea: once(drip),
  cierra: closes,
  gigante: gigabyte,
  bomba: bomb,
  trozos: once(raw('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nroto\r\n')),
  corta: once(raw('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncorta')),
  larga: strange('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok y de más'),
  antes: strange(
    'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok',
  ),
  vacia: strange('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nConnection: close\r\n\r\ncuerpo'),
  binaria: strange(
    Buffer.concat([
      Buffer.from(
        'HTTP/1.1 200 OK\r\nX-Rara: \xff\xfe\xe9\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\n',
        'latin1',
      ),
      Buffer.from([0xff, 0x00, 0xc3, 0x28, 0x00, 0xed]),
    ]),
  ),
  nula: once(raw(Buffer.from('HTTP/1.1 200 OK\r\nX-Nula: a\0b\r\nContent-Length: 2\r\n\r\nok', 'latin1'))),
  cabezona: strange(`HTTP/1.1 200 OK\r\n${HEADERS}Content-Length: 2\r\nConnection: close\r\n\r\nok`),
  basura: once(raw('esto no es HTTP\r\n\r\n')),
}

const broken: readonly Role[] = Object.entries(BROKEN).map(([name, behaviour]) => ({
  name,
  behaviour,
  settings: { eventos: '*', concurrencia: 4, espera_total: '4s', corte_porcentaje: 0 },
  wants: () => true,
  expects: () => 'exitosa',
}))

const wandering: Role = {
  name: 'vueltas',
  behaviour: (request) => (request.attempt > 0 ? loop(request, undefined as never, undefined as never) : undefined),
  settings: { eventos: '*', concurrencia: 4, redirecciones: 3, corte_porcentaje: 0 },
  wants: () => true,
  expects: () => 'fallida',
}

const healthy: Role = {
  name: 'sano',
  behaviour: () => ({ status: 200, delay: 5 }),
  settings: { eventos: '*', concurrencia: 4 },
  wants: () => true,
  expects: () => 'exitosa',
}

const brokenCast: Cast = {
  roles: [healthy, ...broken],
  names: [healthy, ...broken].map(({ name }) => name),
  events: ['pedido.alta'],
}

const lostCast: Cast = { roles: [healthy, wandering], names: ['sano', 'vueltas'], events: ['pedido.alta'] }

/** How long the healthy one waits between its messages' arrival and their delivery is not the broken ones' business. */
async function healthyIsQuick(arena: Arena): Promise<readonly string[]> {
  const rows = (await arena.sql`
    SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM i.inicio - m.recibido)) AS p95
      FROM ${arena.sql(arena.schema)}.intento i JOIN ${arena.sql(arena.schema)}.mensaje m ON m.id = i.mensaje_id
     WHERE i.listener = 'sano'`) as unknown as [{ p95: number }]
  // One silent second of a neighbour would show here.
  return rows[0].p95 > 2 ? [`the healthy listener waited ${rows[0].p95} s (p95) beside the broken ones`] : []
}

export const listenerFaults: readonly Fault[] = [
  {
    name: 'listeners: respuestas rotas',
    arena: { cast: brokenCast, ini: { workers: { concurrencia: 60 } } },
    traffic: { messages: 40, over: 2500 },
    patience: 90_000,
    inflict: async () => {},
    verify: healthyIsQuick,
  },
  {
    name: 'listeners: redirecciones en círculo',
    arena: { cast: lostCast },
    traffic: { messages: 40, over: 1500 },
    rules: { except: ['vueltas'] },
    inflict: async () => {},
    verify: async (arena) => {
      const [row] = (await arena.sql`
        SELECT count(*)::int AS deliveries, count(*) FILTER (WHERE estado = 'fallida')::int AS failed
          FROM ${arena.sql(arena.schema)}.entrega WHERE listener = 'vueltas'`) as unknown as [
        { deliveries: number; failed: number },
      ]
      const requests = arena.wire.requests.filter(({ listener }) => listener === 'vueltas').length
      const [{ rows }] = (await arena.sql`
        SELECT count(*)::int AS rows FROM ${arena.sql(arena.schema)}.intento WHERE listener = 'vueltas'`) as unknown as [
        { rows: number },
      ]
      const found: string[] = []
      if (row.failed !== row.deliveries) found.push(`${row.deliveries - row.failed} of a redirect loop are not fallida`)
      if (rows !== requests) found.push(`${requests} requests of a redirect loop, ${rows} intento rows`)
      return found
    },
  },
  {
    name: 'listeners: el puerto se cierra y vuelve',
    mixable: true,
    inflict: async (arena) => {
      const listener = arena.wire.listeners.find(({ name }) => name === 'lento')!
      for (let i = 0; i < 3; i++) {
        await sleep(arena.dice.between(200, 600))
        await listener.shut()
        await sleep(arena.dice.between(200, 600))
        await listener.open()
      }
    },
  },
  ...(openssl.missing ? [] : [tlsFault()]),
]

/** No request gets through, and each attempt is a row with its cause. */
function tlsFault(): Fault {
  const names = ['vencido', 'otro_nombre', 'autofirmado']
  return {
    name: 'listeners: TLS vencido, ajeno, autofirmado',
    traffic: { messages: 40, over: 1500 },
    rules: { except: names },
    inflict: async (arena) => {
      const certificates = makeCertificates()
      atEnd(() => certificates.remove())
      const pairs = [certificates.expired, certificates.wrongHost, certificates.selfSigned]
      for (const [i, { cert, key }] of pairs.entries()) {
        const server = createTls({ cert, key }, (_request, response) => response.end('ok'))
        server.on('tlsClientError', () => {})
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        atEnd(() => server.close())
        const { port } = server.address() as AddressInfo
        arena.sections[`listener ${names[i]}`] = {
          url: `https://localhost:${port}/`,
          ca_cert: certificates.ca.certFile,
          eventos: 'tls.*',
          concurrencia: 4,
          reintentos: 'corto',
        }
      }
      arena.sections['reintentos corto'] = { estrategia: 'fija', espera_inicial: '100ms', intentos: 2 }
      await arena.writeIni()
      await Promise.all(arena.workers.map((worker) => worker.logged('configuración recargada')))
      const { code, stderr } = await arena.cli(['send', 'tls.prueba', '{}'])
      if (code !== 0) throw new Error(`send exited ${code}: ${stderr}`)
      await sleep(1000)
    },
    verify: async (arena) => {
      // On a machine that has no time left a handshake may also come too late.
      const rows = (await arena.sql`
        SELECT e.listener, e.estado, count(*)::int AS n, count(*) FILTER (WHERE i.error = 'tls')::int AS tls,
               count(*) FILTER (WHERE i.error NOT IN ('tls', 'timeout') OR i.http_estado IS NOT NULL)::int AS strange
          FROM ${arena.sql(arena.schema)}.entrega e
          JOIN ${arena.sql(arena.schema)}.intento i ON (e.mensaje_id, e.listener) = (i.mensaje_id, i.listener)
         WHERE e.listener = ANY (${names}) GROUP BY 1, 2`) as unknown as {
        estado: string
        n: number
        tls: number
        strange: number
      }[]
      const good = rows.filter(
        ({ estado, n, tls, strange }) => estado === 'fallida' && n === 2 && tls > 0 && strange === 0,
      )
      return good.length === names.length ? [] : [`TLS attempts: ${JSON.stringify(rows)}`]
    },
  }
}

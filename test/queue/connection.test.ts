import { type AddressInfo, createServer, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { test as base, expect, inject } from 'vitest'
import {
  causeOf,
  connectForever,
  connectOnce,
  explainRedis,
  isRedisError,
  mayHaveHappened,
  redisTrouble,
} from '../../src/queue/redis.ts'
import { makeCertificates, openssl } from '../support/certificates.ts'
import { startProxy } from '../support/proxy.ts'
import { startSilent } from '../support/silent-server.ts'
import { until } from '../support/until.ts'

const test = base

const config = () => ({
  ...inject('redis'),
  username: null,
  password: null,
  db: 0,
  tls: false,
  ca: null,
  sentinels: [],
  sentinelMaster: null,
})

test('a subscriber whose connection is cut again as soon as it is back does not end the process', async () => {
  const unhandled: unknown[] = []
  const listen = (reason: unknown) => void unhandled.push(reason)
  const earlier = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', listen)
  const subscriber = connectForever(config(), 'prueba')
  try {
    await until(() => subscriber.status === 'ready')
    await subscriber.subscribe('canal')
    let cuts = 0
    subscriber.on('ready', () => {
      if (cuts++ < 3) subscriber.stream.destroy()
    })
    subscriber.stream.destroy()
    await until(() => cuts > 3 && subscriber.status === 'ready')
    expect(unhandled).toEqual([])
  } finally {
    subscriber.disconnect()
    process.off('unhandledRejection', listen)
    for (const each of earlier) process.on('unhandledRejection', each)
  }
})

async function listening(server: Server): Promise<{ host: string; port: number }> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

test.skipIf(openssl.missing)(
  `TLS spoken to a server without it, and the other way round, is told as that${openssl.note}`,
  async () => {
    const certificates = makeCertificates()
    const { cert, key } = certificates.server
    const secure = createTlsServer({ cert, key }, (socket) => socket.on('error', () => {}))
    const place = await listening(secure)
    try {
      const lost = await connectOnce({ ...config(), ...place }).catch((error) => error)
      expect(lost).toMatchObject({
        code: 'CONFIGURACION',
        message: expect.stringMatching(/habla TLS, y se le habló sin TLS.*REST_HOOKS_REDIS_TLS=1/),
      })
      // What the client says after its 5 s of waiting for the handshake.
      const late = Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT' })
      expect(await explainRedis(late, { ...config(), tls: true })).toMatchObject({
        code: 'CONFIGURACION',
        message: expect.stringMatching(/no habla TLS, y se le habló con TLS/),
      })
      expect(await explainRedis(late, config())).toMatchObject({ code: 'NO_DISPONIBLE' })
    } finally {
      secure.close()
      certificates.remove()
    }
  },
)

test('a server that is no Redis is told as that, with TLS and without', async () => {
  const web = createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  const place = await listening(web)
  try {
    await expect(connectOnce({ ...config(), ...place })).rejects.toThrow(/no habla el protocolo de Redis/)
    await expect(connectOnce({ ...config(), ...place, tls: true })).rejects.toThrow(/no habla TLS; revise/)
  } finally {
    web.close()
  }
})

const BRIEF = { connect: 5_000, answer: 200, silence: 200 }

test('of a server that accepts and never answers nothing is asked that it might do once it goes on', async () => {
  const hung = await startSilent()
  try {
    const lost = await connectOnce({ ...config(), host: hung.host, port: hung.port }, BRIEF).catch((error) => error)
    expect(lost).toMatchObject({
      code: 'NO_DISPONIBLE',
      message: expect.stringMatching(/:\d+\): acepta la conexión y no contesta \(200 ms\)/),
    })
    // Beside a handshake of TLS, tried to tell what is wrong.
    expect(hung.heard().split('\x16')[0]).toBe('*1\r\n$4\r\nping\r\n')
  } finally {
    await hung.close()
  }
})

test('a server that falls silent later is told as that, and what an ordinary user may not ask is an answer too', async () => {
  const admin = await connectOnce(config())
  await admin.call('ACL', 'SETUSER', 'sin_ping', 'on', '>clave', '~*', '+get')
  const proxy = await startProxy(inject('redis'))
  const through = { ...config(), host: proxy.host, port: proxy.port, username: 'sin_ping', password: 'clave' }
  const client = await connectOnce(through, { ...BRIEF, answer: 5_000 })
  try {
    expect(await client.get('nada')).toBeNull()
    proxy.swallow()
    const lost = await client.get('nada').catch((error) => error)
    expect(isRedisError(lost)).toBe(true)
    expect(client.status).not.toBe('ready')
    expect(redisTrouble(causeOf(lost, client), through)).toMatchObject({
      code: 'NO_DISPONIBLE',
      message: expect.stringContaining('no respondió a tiempo'),
    })
  } finally {
    client.disconnect()
    await admin.call('ACL', 'DELUSER', 'sin_ping')
    admin.disconnect()
    await proxy.close()
  }
})

test('a Sentinel that is hung keeps nobody from asking the next one, neither a command nor a worker', async () => {
  const { host, port } = inject('redis')
  const master = `*2\r\n$${host.length}\r\n${host}\r\n$${String(port).length}\r\n${port}\r\n`
  const answerOf = (command: string) => (command.includes('get-master-addr-by-name') ? master : '*0\r\n')
  const other = createServer((socket) => {
    const answer = (asked: Buffer) =>
      socket.write(
        `${asked}`
          .split(/(?=\*\d)/)
          .map(answerOf)
          .join(''),
      )
    socket.on('error', () => {}).on('data', answer)
  })
  const [hung, place] = [await startSilent(), await listening(other)]
  const through = { ...config(), sentinels: [{ host: hung.host, port: hung.port }, place], sentinelMaster: 'maestro' }
  const lasting = connectForever(through, 'prueba')
  try {
    const brief = await connectOnce(through)
    brief.disconnect()
    await until(() => lasting.status === 'ready')
  } finally {
    lasting.disconnect()
    other.close()
    await hung.close()
  }
})

test.for([
  ['Command timed out', 'Error', true],
  ['Connection is closed.', 'Error', true],
  ["Stream isn't writeable and enableOfflineQueue options is false", 'Error', false],
  ["READONLY You can't write against a read only replica.", 'ReplyError', false],
  ["OOM command not allowed when used memory > 'maxmemory'.", 'ReplyError', false],
] as const)('after «%s» a command may have been carried out: %s', ([message, name, may]) => {
  const error = Object.assign(new Error(message), { name })
  expect(mayHaveHappened(error)).toBe(may)
  expect(redisTrouble(error, config())).toMatchObject({
    code: 'NO_DISPONIBLE',
    message: expect.not.stringContaining(message),
  })
})

test('a connection that passes nothing any more is replaced, the one that only listens too', async () => {
  const proxy = await startProxy(inject('redis'))
  const through = { ...config(), host: proxy.host, port: proxy.port }
  const [commands, subscriber] = ['prueba', 'aviso'].map((label) => connectForever(through, label, 200))
  try {
    await until(() => commands!.status === 'ready' && subscriber!.status === 'ready')
    await subscriber!.subscribe('canal')
    const before = proxy.accepted()
    proxy.swallow()
    await expect(commands!.ping()).rejects.toThrow()
    await expect(subscriber!.ping()).rejects.toThrow()
    await until(() => proxy.accepted() >= before + 2 && commands!.status === 'ready')
    expect(await commands!.ping()).toBe('PONG')
  } finally {
    commands!.disconnect()
    subscriber!.disconnect()
    await proxy.close()
  }
})

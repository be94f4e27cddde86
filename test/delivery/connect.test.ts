/** How a socket is opened: the names, the networks, the addresses. Resolvers are scripted, sockets are real. */
import type { LookupAddress } from 'node:dns'
import { type BlockList, isIP } from 'node:net'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { endpointOf } from '../../src/delivery/connect.ts'
import { Names, names } from '../../src/delivery/names.ts'
import { blockList, cidrOf, isBlocked } from '../../src/model/http.ts'
import { attempt, serve } from './scene.ts'

describe('redes_bloqueadas', () => {
  const list: BlockList = blockList(['169.254.0.0/16', '10.1.2.3/32', 'fe80::/10', 'fd00:ec2::254/128', '::1/128'])

  test.each([
    ['169.254.169.254', true],
    ['::ffff:169.254.169.254', true],
    ['10.1.2.3', true],
    ['10.1.2.4', false],
    ['fe80::1', true],
    ['febf::1', true],
    ['fec0::1', false],
    ['fd00:ec2::254', true],
    ['::1', true],
    ['127.0.0.1', false],
    ['0.0.0.0', false],
    ['::', true],
    ['64:ff9b::a9fe:a9fe', true],
    ['64:ff9b::169.254.169.254', true],
    ['64:ff9b:1::a9fe:a9fe', true],
    ['64:ff9b::8.8.8.8', false],
    ['2002:a9fe:a9fe::1', true],
    ['2002:0808:0808::1', false],
    ['2001:0:4136:e378:8000:63bf:5601:5601', true],
    ['::169.254.169.254', true],
    ['::a01:203', true],
    ['::ffff:a01:203', true],
    ['2800:110:1::a9fe:a9fe', false],
  ])('%s blocked: %s', (address, expected) => {
    expect(isIP(address)).not.toBe(0)
    expect(isBlocked(list, address)).toBe(expected)
  })

  test.each(['0.0.0.0', '::', '::ffff:0.0.0.0', '64:ff9b::7f00:1', '::127.0.0.1'])(
    'this machine is blocked as %s where 127.0.0.0/8 is',
    (address) => expect(isBlocked(blockList(['127.0.0.0/8']), address)).toBe(true),
  )

  test.each([
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['::1', '::1/128'],
    ...['nada', '10.0.0.0/33', '10.0.0.0/x', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0', '::/129', ''].map((no) => [
      no,
      null,
    ]),
  ])('%j means the network %j', (text, range) => {
    expect(cidrOf(text!)).toBe(range)
    if (range !== null) expect(() => blockList([range!])).not.toThrow()
  })

  test('an address literal is refused without a connection', async () => {
    const server = await serve(() => ({}))
    const { requests, outcome } = await attempt({ url: server.url, blockedNetworks: ['127.0.0.0/8'] })
    expect(requests).toMatchObject([{ error: 'bloqueada', ip: '127.0.0.1', status: null }])
    expect(outcome.kind).toBe('retry')
    expect(server.requests).toHaveLength(0)
  })

  test.each(['2130706433', '0x7f.1', '0177.0.0.1', '[::ffff:127.0.0.1]', '0.0.0.0', '0'])(
    'nor does the spelling %s get through',
    async (host) => {
      const server = await serve(() => ({}))
      const { requests } = await attempt({ url: `http://${host}:${server.port}/`, blockedNetworks: ['127.0.0.0/8'] })
      expect(requests).toMatchObject([{ error: 'bloqueada' }])
      expect(server.requests).toHaveLength(0)
    },
  )

  test('a name is judged by every address that it has, and connected to an allowed one', async () => {
    const server = await serve(() => ({}))
    const name = `http://localhost:${server.port}/`
    const all = await attempt({ url: name, blockedNetworks: ['127.0.0.0/8', '::1/128'] })
    expect(all.requests[0]).toMatchObject({
      error: 'bloqueada',
      errorDetail: expect.stringContaining('localhost resuelve a'),
    })
    const some = await attempt({ url: name, blockedNetworks: ['::1/128'] })
    expect(some.requests[0]).toMatchObject({ status: 200, ip: '127.0.0.1' })
  })
})

test.each([
  ['https://h', { host: 'h', port: 443, tls: true }],
  ['http://h', { host: 'h', port: 80, tls: false }],
  ['https://[::1]:8443', { host: '::1', port: 8443, tls: true }],
])('%s is reached at %j', (origin, endpoint) => {
  expect(endpointOf(origin)).toEqual(endpoint)
})

describe('a name with several addresses, some of them dead or forbidden', () => {
  const NAME = 'http://varias.example'
  /** What the resolver of this process answers, one time after the other. */
  const resolver = (...answers: string[][]) => {
    const spy = vi.spyOn(names, 'resolve')
    onTestFinished(() => spy.mockRestore())
    for (const addresses of answers) spy.mockResolvedValueOnce(addresses.map((address) => ({ address, family: 4 })))
    return spy
  }

  test('the next address is tried when one refuses', async () => {
    const server = await serve(() => ({}))
    resolver(['127.0.0.2', '127.0.0.3', '127.0.0.1'])
    const { requests, outcome } = await attempt({ url: `${NAME}:${server.port}/` })
    expect(outcome.kind).toBe('success')
    expect(requests).toMatchObject([{ ip: '127.0.0.1', status: 200 }])
    expect(server.requests[0]!.headers.host).toBe(`varias.example:${server.port}`)
  })

  test('when all refuse, each is told', async () => {
    resolver(['127.0.0.2', '127.0.0.3'])
    const { requests } = await attempt({ url: `${NAME}:1/` })
    expect(requests[0]).toMatchObject({ error: 'conexion' })
    expect(requests[0]!.errorDetail).toContain('127.0.0.2:1')
    expect(requests[0]!.errorDetail).toContain('127.0.0.3:1')
  })

  test('a forbidden address is skipped, also where it would have answered', async () => {
    const server = await serve(() => ({}))
    resolver(['127.0.0.1', '127.0.0.2'])
    const { requests } = await attempt({ url: `${NAME}:${server.port}/`, blockedNetworks: ['127.0.0.1/32'] })
    expect(requests[0]).toMatchObject({ error: 'conexion', ip: '127.0.0.2' })
    expect(server.requests).toHaveLength(0)
  })

  test('a name that answers the check one thing and the connection another gets nowhere', async () => {
    const server = await serve(() => ({}))
    const asked = resolver(['127.0.0.2'], ['127.0.0.1'])
    const { requests } = await attempt({ url: `${NAME}:${server.port}/`, blockedNetworks: ['127.0.0.1/32'] })
    expect(requests[0]).toMatchObject({ error: 'conexion' })
    expect(asked).toHaveBeenCalledTimes(1)
    expect(server.requests).toHaveLength(0)
  })
})

describe('look-ups that a DNS does not answer', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const at = (address: string): LookupAddress[] => [{ address, family: 4 }]
  const failure = (code: string) => Object.assign(new Error(code), { code })

  /** Every look-up waits until the test answers it. */
  function scripted(threads: number) {
    const asked: string[] = []
    const pending = new Map<string, { done: (a: LookupAddress[]) => void; failed: (e: Error) => void }>()
    const names = new Names((host) => {
      asked.push(host)
      return new Promise((done, failed) => pending.set(host, { done, failed }))
    }, threads)
    return {
      names,
      asked,
      answer: (host: string, address: string) => pending.get(host)!.done(at(address)),
      fail: (host: string, code: string) => pending.get(host)!.failed(failure(code)),
      running: () => asked.length,
    }
  }

  test('one look-up a name at a time, kept for ten seconds; an address is its own', async () => {
    const { names, asked, answer } = scripted(16)
    const both = [names.resolve('a'), names.resolve('a')]
    answer('a', '10.0.0.1')
    expect(await Promise.all(both)).toEqual([at('10.0.0.1'), at('10.0.0.1')])
    await vi.advanceTimersByTimeAsync(9000)
    expect(await names.resolve('a')).toEqual(at('10.0.0.1'))
    expect(await names.resolve('::1')).toEqual([{ address: '::1', family: 6 }])
    expect(asked).toEqual(['a'])
  })

  test('names without an answer never take every thread, and afterwards share few', async () => {
    const { names, asked, answer, fail } = scripted(8)
    const dead = ['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8']
    const ask = () => Promise.allSettled(dead.map((name) => names.resolve(name)))
    const first = ask()
    expect(asked).toEqual(dead.slice(0, 6))
    for (const name of dead) {
      fail(name, 'EAI_AGAIN')
      await vi.advanceTimersByTimeAsync(0)
    }
    expect((await first).map(({ status }) => status)).toEqual(dead.map(() => 'rejected'))

    // The second time one thread is theirs, and a healthy name that was never asked for goes ahead.
    asked.length = 0
    void ask()
    expect(asked).toEqual(['m1'])
    const healthy = names.resolve('sano')
    expect(asked).toEqual(['m1', 'sano'])
    answer('sano', '10.0.0.2')
    expect(await healthy).toEqual(at('10.0.0.2'))
    expect(asked).toEqual(['m1', 'sano'])
  })

  test('where the DNS is silent, or says that it cannot, the last good addresses serve for an hour', async () => {
    const { names, asked, answer, fail } = scripted(4)
    const first = names.resolve('a')
    answer('a', '10.0.0.1')
    await first
    await vi.advanceTimersByTimeAsync(11_000)

    const hung = names.resolve('a')
    await vi.advanceTimersByTimeAsync(500)
    expect(await hung).toEqual(at('10.0.0.1'))
    // The next ones do not even wait.
    expect(await names.resolve('a')).toEqual(at('10.0.0.1'))
    expect(asked).toEqual(['a', 'a'])

    fail('a', 'EAI_AGAIN')
    await vi.advanceTimersByTimeAsync(11_000)
    const refused = names.resolve('a')
    fail('a', 'EAI_AGAIN')
    expect(await refused).toEqual(at('10.0.0.1'))

    await vi.advanceTimersByTimeAsync(3_600_000)
    const tooOld = names.resolve('a')
    fail('a', 'EAI_AGAIN')
    await expect(tooOld).rejects.toThrow('EAI_AGAIN')
  })

  test('a name that does not exist any more is an error at once; one that moved is found after a failed connection', async () => {
    const { names, answer, fail } = scripted(4)
    const first = names.resolve('a')
    answer('a', '10.0.0.1')
    await first
    names.forget('a')
    const moved = names.resolve('a')
    answer('a', '10.0.0.9')
    expect(await moved).toEqual(at('10.0.0.9'))
    names.forget('a')
    const gone = names.resolve('a')
    fail('a', 'ENOTFOUND')
    await expect(gone).rejects.toThrow('ENOTFOUND')
    const still = names.resolve('a')
    fail('a', 'EAI_AGAIN')
    await expect(still).rejects.toThrow('EAI_AGAIN')
  })
})

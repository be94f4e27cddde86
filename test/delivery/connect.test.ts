import { type BlockList, isIP } from 'node:net'
import { describe, expect, test } from 'vitest'
import { endpointOf } from '../../src/delivery/connect.ts'
import { blockList, isBlocked } from '../../src/model/http.ts'
import { attempt, serve } from './scene.ts'

describe('redes_bloqueadas', () => {
  const list: BlockList = blockList(['169.254.0.0/16', '10.1.2.3', 'fe80::/10', 'fd00:ec2::254/128', '::1'])

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

  test.each(['nada', '10.0.0.0/33', '10.0.0.0/x', '10.0.0'])('%j is no network', (range) => {
    expect(() => blockList([range])).toThrow(range)
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
    const all = await attempt({ url: name, blockedNetworks: ['127.0.0.0/8', '::1'] })
    expect(all.requests[0]).toMatchObject({
      error: 'bloqueada',
      errorDetail: expect.stringContaining('localhost resuelve a'),
    })
    const some = await attempt({ url: name, blockedNetworks: ['::1'] })
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

/** A name with several addresses, some of them dead or forbidden; the resolver is scripted, the sockets are real. */
import { afterAll, beforeEach, expect, test, vi } from 'vitest'

const NAMES = '../../src/delivery/names.ts'
const resolver = { answers: [] as string[][], asked: 0 }

// Modules outlive the file that loads them: those of the files before this one know the real resolver, and those of this
// file must not be found by the next one.
vi.resetModules()
vi.doMock(NAMES, () => ({
  resolve: async () => {
    const answer = resolver.answers[Math.min(resolver.asked++, resolver.answers.length - 1)]!
    return answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  },
  forget: () => {},
}))
const { attempt, serve } = await import('./scene.ts')
afterAll(() => {
  vi.doUnmock(NAMES)
  vi.resetModules()
})
beforeEach(() => {
  resolver.asked = 0
})

const NAME = 'http://varias.example'

test('the next address is tried when one refuses', async () => {
  const server = await serve(() => ({}))
  resolver.answers = [['127.0.0.2', '127.0.0.3', '127.0.0.1']]
  const { requests, outcome } = await attempt({ url: `${NAME}:${server.port}/` })
  expect(outcome.kind).toBe('success')
  expect(requests).toMatchObject([{ ip: '127.0.0.1', status: 200 }])
  expect(server.requests[0]!.headers.host).toBe(`varias.example:${server.port}`)
})

test('when all refuse, each is told', async () => {
  resolver.answers = [['127.0.0.2', '127.0.0.3']]
  const { requests } = await attempt({ url: `${NAME}:1/` })
  expect(requests[0]).toMatchObject({ error: 'conexion' })
  expect(requests[0]!.errorDetail).toContain('127.0.0.2:1')
  expect(requests[0]!.errorDetail).toContain('127.0.0.3:1')
})

test('a forbidden address is skipped, also where it would have answered', async () => {
  const server = await serve(() => ({}))
  resolver.answers = [['127.0.0.1', '127.0.0.2']]
  const { requests } = await attempt({ url: `${NAME}:${server.port}/`, blockedNetworks: ['127.0.0.1/32'] })
  expect(requests[0]).toMatchObject({ error: 'conexion', ip: '127.0.0.2' })
  expect(server.requests).toHaveLength(0)
})

test('a name that answers the check one thing and the connection another gets nowhere', async () => {
  const server = await serve(() => ({}))
  resolver.answers = [['127.0.0.2'], ['127.0.0.1']]
  const { requests } = await attempt({ url: `${NAME}:${server.port}/`, blockedNetworks: ['127.0.0.1/32'] })
  expect(requests[0]).toMatchObject({ error: 'conexion' })
  expect(resolver.asked).toBe(1)
  expect(server.requests).toHaveLength(0)
})

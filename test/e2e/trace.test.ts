/** A message's trace: from the sender, through its retries, to the listener; and as spans where an SDK is at hand. */
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { until } from '../support/until.ts'
import { expect, sharedWorldTest, type World, worldTest } from '../support/world.ts'

const test = sharedWorldTest()
const ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const GOOD = `00-${ID}-00f067aa0ba902b7-01`
const CHILD = new RegExp(`^00-${ID}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`)

/** One listener that fails the first attempt of each message. */
async function failingOnce(world: World) {
  const seen = new Set<string>()
  return world.listener(({ headers }) => {
    const id = String(headers['webhook-id'])
    const status = seen.has(id) ? 200 : 503
    seen.add(id)
    return { status }
  })
}

let listener: Awaited<ReturnType<typeof failingOnce>>
const requestsOf = (id: string) => listener.requests.filter(({ headers }) => headers['webhook-id'] === id)

test.beforeAll(async ({ world }: { world: World }) => {
  listener = await failingOnce(world)
  await world.worker()
})

test('every attempt is a span of its own in the trace of whoever sent it, and ver shows it', async ({ world }) => {
  const id = await world.send('x', { n: 1 }, ['--traceparent', GOOD, '--tracestate', 'a=1'])
  await world.settled(id)
  const parents = requestsOf(id).map(({ headers }) => String(headers.traceparent))
  expect(parents).toEqual([expect.stringMatching(CHILD), expect.stringMatching(CHILD)])
  expect(new Set(parents).size).toBe(2)
  expect(requestsOf(id).map(({ headers }) => headers.tracestate)).toEqual(['a=1', 'a=1'])
  expect((await world.cli(['ver', id])).stdout).toContain(`traza ${ID}`)
  const [delivery] = await world.audit(id)
  expect(
    delivery!.intentos.map(({ pedido_cabeceras }) => (pedido_cabeceras as { traceparent: string }).traceparent),
  ).toEqual(parents)
  // Sent again from the audit it still belongs to it.
  expect((await world.cli(['reenviar', id, '--estado', 'exitosa'])).code).toBe(0)
  await until(() => requestsOf(id).length > 2)
  expect(requestsOf(id)[2]!.headers.traceparent).toMatch(CHILD)
})

test('the environment may have it, a line of --lote and an entry of another program too', async ({ world }) => {
  const inherited = (value: string) =>
    world.cli(['send', 'x', '1'], { env: { ...world.environment, TRACEPARENT: value } })
  const { stdout } = await inherited(GOOD)
  const wrong = await inherited('cualquier cosa')
  expect(wrong).toMatchObject({ code: 0, stderr: expect.stringContaining('sin la traza de $TRACEPARENT') })
  const lines = [{ traceparent: GOOD }, { traceparent: 'x' }, {}, { cabeceras: { Traceparent: GOOD } }]
  const input = lines.map((line) => `${JSON.stringify({ ...line, datos: 1 })}\n`).join('')
  const lote = await world.cli(['send', 'x', '--lote'], { input })
  expect(lote).toMatchObject({ code: 1, stderr: expect.stringMatching(/línea 2: «x» no es un traceparent/) })
  const [first, second, third, fourth] = lote.stdout.split('\n')
  expect(second).toBe('')
  await world.push({ id: 'ajeno_bien', evento: 'x', datos: 1, traceparent: GOOD, tracestate: '?' })
  await world.push({ id: 'ajeno_mal', evento: 'x', datos: 1, traceparent: { v: '\u0000' }, tracestate: 'a=1' })
  const bad = wrong.stdout.trim()
  const ids = [stdout.trim(), first!, fourth!, 'ajeno_bien', bad, third!, 'ajeno_mal']
  await world.settled(ids)
  const told = ids.map((id) => requestsOf(id)[0]!.headers.traceparent)
  const child = expect.stringMatching(CHILD)
  expect(told).toEqual([child, child, child, child, undefined, undefined, undefined])
  expect(requestsOf('ajeno_bien')[0]!.headers.tracestate).toBeUndefined()
  expect(requestsOf('ajeno_mal')[0]!.headers.tracestate).toBeUndefined()
  expect((await world.cli(['ver', 'ajeno_mal'])).stdout).toContain('traza no válida, no se reenvía: (objeto)')
})

test('what is asked for and not valid is wrong usage', async ({ world }) => {
  for (const args of [
    ['--traceparent', 'x'],
    ['--traceparent', GOOD, '--tracestate', '?'],
    ['--cabecera', 'traceparent: x'],
    ['--tracestate', 'a=1'],
  ]) {
    expect(await world.cli(['send', 'x', '1', ...args])).toMatchObject({ code: 2, stdout: '' })
  }
})

const packages = createRequire(import.meta.url)

/** As somebody's own file with an SDK: what ends goes to a file, a line each. */
const SDK = (out: string) => `
import { appendFileSync } from 'node:fs'
import api from ${JSON.stringify(packages.resolve('@opentelemetry/api'))}
import sdk from ${JSON.stringify(packages.resolve('@opentelemetry/sdk-trace-base'))}
const exporter = {
  export(spans, done) {
    for (const span of spans) {
      const { name, kind, attributes, links, status, parentSpanContext } = span
      const { traceId, spanId, traceState } = span.spanContext()
      const told = { name, kind, attributes, links: links.length, status: status.code, parent: parentSpanContext?.spanId, traceId, spanId }
      appendFileSync(${JSON.stringify(out)}, JSON.stringify({ ...told, state: traceState?.serialize() }) + '\\n')
    }
    done({ code: 0 })
  },
  shutdown: async () => {},
}
api.trace.setGlobalTracerProvider(new sdk.BasicTracerProvider({ spanProcessors: [new sdk.SimpleSpanProcessor(exporter)] }))
`

worldTest()(
  'with an SDK each attempt is a span, named by the conventions, and no secret is in it',
  async ({ world }) => {
    const sdk = join(world.folder, 'sdk.mjs')
    const out = join(world.folder, 'spans.jsonl')
    await writeFile(sdk, SDK(out))
    const failing = await failingOnce(world)
    await world.set('listener escucha1', { auth_tipo: 'api_key', auth_password: 'Secreto.1234', ruta: 'r?ficha=1' })
    await world.worker([], { env: { ...world.environment, NODE_OPTIONS: `--import ${pathToFileURL(sdk)}` } })
    const id = await world.send('x', 1, ['--traceparent', GOOD, '--tracestate', 'a=1'])
    const alone = await world.send('y', 1)
    await world.settled([id, alone], { start: false })
    const text = await readFile(out, 'utf8')
    const all = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    const of = (message: string) => all.filter(({ attributes }) => attributes['messaging.message.id'] === message)
    const port = Number(new URL(failing.url).port)
    const attributes = {
      'messaging.system': 'resthooks',
      'messaging.destination.name': 'x',
      'http.request.method': 'POST',
      'url.full': `${failing.url}/r?ficha=1&api_key=***`,
      'server.address': '127.0.0.1',
      'server.port': port,
    }
    const span = { name: 'POST', kind: 2, traceId: ID, parent: '00f067aa0ba902b7', state: 'a=1' }
    expect(of(id)).toMatchObject([
      {
        ...span,
        links: 0,
        status: 2,
        attributes: { ...attributes, 'http.response.status_code': 503, 'error.type': '503' },
      },
      { ...span, links: 1, status: 0, attributes: { ...attributes, 'http.request.resend_count': 1 } },
    ])
    expect(text).not.toContain('Secreto')
    const told = failing.requests.map(({ headers }) => String(headers.traceparent).split('-').slice(1, 3))
    expect(told.toSorted()).toEqual(all.map(({ traceId, spanId }) => [traceId, spanId]).toSorted())
    // Nobody's trace: one of its own.
    expect(of(alone)[0]).toMatchObject({ traceId: expect.not.stringContaining(ID), links: 0 })
    expect(of(alone)[0].parent).toBeUndefined()
  },
)

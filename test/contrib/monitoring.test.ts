/** What is shipped for Prometheus and Grafana: it speaks of series that exist, and Prometheus's own tool finds nothing wrong. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect } from 'vitest'
import type { Config } from '../../src/config/config.ts'
import type { Queue } from '../../src/queue/queue.ts'
import { createMetrics } from '../../src/worker/metrics.ts'
import { test } from '../queue/scene.ts'
import { runProgram } from '../support/cli.ts'
import { peer } from '../support/programs.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (path: string) => readFile(join(root, path), 'utf8')
const RULES = 'contrib/prometheus/resthooks.rules.yml'
const TESTS = ['contrib/prometheus/resthooks.rules.test.yml', 'contrib/prometheus/resthooks.rules.days.test.yml']
const DASHBOARD = 'contrib/grafana/resthooks.json'

/** A setting that a description names, and a series that is none of ours. */
const NO_METRICS = new Set(['resthooks_activo', 'resthooks_otra'])

/** One scrape of a worker that knows all there is to know. */
async function scrape(queue: Queue): Promise<string> {
  const listeners = new Map([['l', { name: 'l', active: true, order: 'libre' }]])
  const config = { listeners, audit: { retention: 1 } } as unknown as Config
  const metrics = createMetrics({ version: '1.2.3', commit: 'abc' }, () => config.listeners)
  await queue.redis.set(queue.keys.purged, 1)
  const last = { error: null, status: 200, phases: null }
  metrics.attempted('l', { verdict: 'ok', duration: 5, last, age: 9, certificateEndsAt: 1 })
  metrics.accepted(1)
  metrics.audited(1)
  const askPostgres = async () => {}
  return metrics.render({ queue, config, configHash: 'h', inFlight: 0, loops: { claim: 1 }, askPostgres })
}

/** Each metric of it: type, labels, help. */
function described(text: string): Map<string, { type: string; labels: string[]; help: string }> {
  const found = new Map<string, { type: string; labels: string[]; help: string }>()
  for (const [, name = '', help = ''] of text.matchAll(/^# HELP (\S+) (.*)$/gm)) {
    const [, type = ''] = new RegExp(`^# TYPE ${name} (\\w+)$`, 'm').exec(text)!
    const samples = text.matchAll(new RegExp(`^${name}(?:_bucket)?\\{([^}]*)\\}`, 'gm'))
    const labels = [...samples].flatMap(([, pairs = '']) => [...pairs.matchAll(/(\w+)="/g)].map(([, label]) => label!))
    found.set(name, { type, labels: [...new Set(labels)].filter((label) => label !== 'le'), help })
  }
  return found
}

interface Panel {
  readonly title: string
  readonly targets?: readonly { readonly expr: string }[]
}

/** What the dashboard asks, as Grafana would ask it. */
async function dashboardQueries(): Promise<string[]> {
  const { panels, annotations } = JSON.parse(await read(DASHBOARD)) as {
    panels: Panel[]
    annotations: { list: { expr: string }[] }
  }
  const asked = [...panels.flatMap(({ targets = [] }) => targets), ...annotations.list]
  return asked.map(({ expr }) => expr.replaceAll('$__rate_interval', '1m').replace(/\$(proyecto|listener)/g, '.*'))
}

test('rules and dashboard ask for series that there are, and the manual names each of them', async ({ queue }) => {
  const metrics = described(await scrape(queue))
  const parts = (name: string, type: string) =>
    type === 'histogram' ? [name, ...['bucket', 'sum', 'count'].map((part) => `${name}_${part}`)] : [name]
  const known = new Set([...metrics].flatMap(([name, { type }]) => parts(name, type)))
  const queries = await dashboardQueries()
  for (const text of [await read(RULES), ...(await Promise.all(TESTS.map(read))), ...queries]) {
    const asked = text.match(/\b(?:resthooks|process|nodejs)_\w+/g) ?? []
    expect(asked.filter((name) => !known.has(name) && !NO_METRICS.has(name))).toEqual([])
  }
  const KINDS: Readonly<Record<string, string>> = { counter: 'contador', gauge: 'medida', histogram: 'histograma' }
  const rows = [...metrics].map(([name, { type, labels, help }]) => {
    return `| \`${name}\` | ${KINDS[type]} | ${labels.join(', ')} | ${help} |`
  })
  const manual = await read('docs/monitoreo.md')
  expect(manual.match(/^\| `(?:resthooks|process|nodejs)_.*$/gm)?.toSorted()).toEqual(rows.toSorted())
  // Its alerts too, each with a test in which it sounds.
  const alerts = [...new Set([...(await read(RULES)).matchAll(/- alert: (\w+)/g)].map(([, name]) => name!))]
  expect([...manual.matchAll(/^\| `(Resthooks\w+)`/gm)].map(([, name]) => name)).toEqual(alerts)
  const tests = (await Promise.all(TESTS.map(read))).join('')
  expect(alerts.filter((name) => !tests.includes(`alertname="${name}"`))).toEqual([])
})

const promtool = peer('promtool')
describe.skipIf(promtool.missing)(`promtool${promtool.note}`, () => {
  const run = (args: readonly string[], input = '') => runProgram('promtool', args, { cwd: root, input })

  test('finds nothing wrong with what a worker tells, the rules, and the queries of the dashboard', async ({
    queue,
  }) => {
    expect(await run(['check', 'metrics'], await scrape(queue))).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(await run(['check', 'rules', RULES])).toMatchObject({ code: 0, stderr: '' })
    expect(await run(['check', 'config', 'contrib/prometheus/prometheus.yml'])).toMatchObject({ code: 0 })
    // It parses what rules ask: each query as a rule.
    const rules = (await dashboardQueries()).map((expr, i) => ({ record: `panel:consulta:${i}`, expr }))
    const folder = await mkdtemp(join(tmpdir(), 'resthooks-panel-'))
    try {
      const file = join(folder, 'panel.json')
      await writeFile(file, JSON.stringify({ groups: [{ name: 'panel', rules }] }))
      const checked = await run(['check', 'rules', file])
      const all = { code: 0, stdout: expect.stringContaining(`${rules.length} rules`) }
      expect(checked, checked.stderr).toMatchObject(all)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test('each alert sounds when it should, and is quiet when not', async () => {
    const tested = await run(['test', 'rules', ...TESTS])
    expect(tested, tested.stdout + tested.stderr).toMatchObject({ code: 0 })
  })
})

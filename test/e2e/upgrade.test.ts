/**
 * From the release before to this one and back, with messages coming in all the time and both at work: nothing is lost, and the
 * rows of each are complete, whichever wrote them.
 */
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { latestVersion, migrations } from '../../src/audit/migrate.ts'
import { BIN, runProgram, spawnProgram, unpackReleaseBefore, type Worker } from '../support/cli.ts'
import { until } from '../support/until.ts'
import { expect, test } from '../support/world.ts'

const EACH = 30

test('an upgrade under load, both versions side by side, and the way back', async ({ world }) => {
  const place = join(world.folder, '0.1.0')
  await mkdir(place)
  const programs = { old: unpackReleaseBefore(place), now: BIN }
  type Release = keyof typeof programs
  const options = { env: world.environment, cwd: world.folder }
  const run = (release: Release, args: readonly string[], input = '') =>
    runProgram(process.execPath, [programs[release], ...args], { ...options, input })
  const start = async (release: Release): Promise<Worker> => {
    const worker = spawnProgram(process.execPath, [programs[release], 'iniciar-workers'], options)
    onTestFinished(() => worker.kill('SIGKILL'))
    await worker.logged('en marcha')
    return worker
  }
  const stop = async (worker: Worker) => {
    worker.kill('SIGTERM')
    expect(await worker.waitExit(), worker.output).toEqual({ code: 0, signal: null })
  }

  const served = new Map<string, number>()
  const seen = new Set<string>()
  const once = (id: string) => seen.size < seen.add(id).size
  /** Every third message is refused once; every tenth for good. */
  const listener = await world.listener(
    ({ headers, body }) => {
      const id = String(headers['webhook-id'])
      const { n } = JSON.parse(body.toString())
      served.set(id, (served.get(id) ?? 0) + 1)
      if (n % 10 === 9) return { status: 422 }
      return { status: n % 3 === 0 && once(id) ? 503 : 200, delay: 5 }
    },
    { concurrencia: 4 },
  )
  const ids: string[] = []
  const send = async (release: Release) => {
    const lines = Array.from({ length: EACH }, (_, n) => JSON.stringify({ evento: 'compra.alta', datos: { n } }))
    const { code, stdout, stderr } = await run(release, ['send', '--lote'], lines.join('\n'))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    ids.push(...stdout.trim().split('\n'))
  }
  const workersOf = (batch: readonly string[]) => {
    const { sql, schema } = world
    return sql`SELECT DISTINCT worker FROM ${sql(schema)}.intento WHERE mensaje_id = ANY(${batch})`
  }
  const ranBy = (worker: Worker) => (row: Readonly<Record<string, unknown>>) =>
    String(row.worker).includes(`:${worker.child.pid}:`)

  // Before: everything is 0.1.0.
  expect(await run('old', ['crear-base'])).toMatchObject({ code: 0 })
  const before = await start('old')
  await send('old')

  // The upgrade: the schema first, while the old worker delivers; then a new worker beside it.
  const sending = send('old')
  expect(await run('now', ['crear-base'])).toMatchObject({ code: 0 })
  await sending
  const now = await start('now')
  await until(async () => {
    const from = ids.length
    await Promise.all([send('old'), send('now')])
    await world.settled(ids.slice(from), { start: false })
    const workers = await workersOf(ids.slice(from))
    return workers.some(ranBy(before)) && workers.some(ranBy(now))
  })
  await Promise.all([stop(before), send('now')])

  // And back: 0.1.0 works on the schema that it finds, and leaves it alone.
  await world.settled(ids, { start: false })
  const beforeReturn = ids.length
  const back = await start('old')
  await Promise.all([stop(now), send('old'), send('now')])
  await world.settled(ids, { start: false })
  expect((await workersOf(ids.slice(beforeReturn))).some(ranBy(back))).toBe(true)
  const refused = await run('old', ['crear-base'])
  expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining('Actualice este programa') })
  expect(refused.stderr).toContain(`versión ${latestVersion()}`)
  expect(await run('old', ['estado'])).toMatchObject({ code: 0 })
  await stop(back)

  expect(new Set(ids).size).toBe(ids.length)
  const { sql, schema } = world
  const rows = await sql`
    SELECT e.mensaje_id AS id, e.estado, e.intentos, e.evento, count(*)::int AS messages,
      (SELECT count(*) FROM ${sql(schema)}.intento i WHERE i.mensaje_id = e.mensaje_id)::int AS attempts,
      (SELECT count(*) FROM ${sql(schema)}.callback c WHERE c.mensaje_id = e.mensaje_id AND resultado = 'exito')::int AS calls
    FROM ${sql(schema)}.entrega e JOIN ${sql(schema)}.mensaje m ON m.id = e.mensaje_id
    GROUP BY e.mensaje_id, e.estado, e.intentos, e.evento`
  expect(rows).toHaveLength(ids.length)
  for (const [at, id] of ids.entries()) {
    const n = at % EACH
    const requests = served.get(id)
    const fails = n % 10 === 9
    expect(
      rows.find((row) => row.id === id),
      `${id}, n = ${n}`,
    ).toEqual({
      ...{ id, estado: fails ? 'fallida' : 'exitosa', evento: 'compra.alta', messages: 1, calls: fails ? 1 : 0 },
      ...{ intentos: fails || n % 3 !== 0 ? 1 : 2, attempts: requests },
    })
    expect(requests).toBe(fails || n % 3 !== 0 ? 1 : 2)
  }
  expect(listener.requests).toHaveLength([...served.values()].reduce((sum, each) => sum + each))
  // What 0.1.0 wrote after the upgrade is read by this release.
  const last = ids.slice(beforeReturn)[0]!
  expect(await run('now', ['ver', last])).toMatchObject({ code: 0, stderr: '' })
})

const read = (name: string) => readFile(fileURLToPath(new URL(`../../${name}`, import.meta.url)), 'utf8')

test('sql/README.md tells of each migration which releases may work with it; CHANGELOG.md, of this version', async () => {
  const rows = [...(await read('sql/README.md')).matchAll(/^\| (\d{3}_\w+) \|/gm)].map(([, name]) => name)
  expect(rows).toEqual(migrations().map(({ name }) => name))
  const { version } = JSON.parse(await read('package.json'))
  expect(await read('CHANGELOG.md')).toContain(`\n## [${version}]`)
})

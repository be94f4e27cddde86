/** One bad thing at a time: it must stop only itself. */
import { closeSync, openSync } from 'node:fs'
import { chmod, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../../support/until.ts'
import type { Arena } from '../arena.ts'
import { type Cast, usualCast } from '../cast.ts'
import { type Fault, sleep } from './fault.ts'

const GARBAGE: readonly (string | Buffer)[] = [
  '',
  'esto no es JSON',
  '{"evento":',
  '[]',
  'null',
  '42',
  '{}',
  '{"evento":""}',
  '{"evento":7}',
  '{"v":2,"evento":"x"}',
  '{"evento":"x","cuerpo":7}',
  '{"evento":"x","cuerpo":"\\ud800"}',
  '{"evento":"x","cuerpo_base64":"%%%"}',
  '{"evento":"x","cuerpo":"a","datos":1}',
  '{"evento":"x","id":"con espacio"}',
  `{"evento":"x","id":"${'i'.repeat(201)}"}`,
  '{"evento":"x","id":{"a":1}}',
  '{"evento":"x","metodo":"P U T"}',
  '{"evento":"x","cabeceras":"X: y"}',
  '{"evento":"x","cabeceras":{"X":{}}}',
  '{"evento":"x","demora":"mañana"}',
  '{"evento":"x","creado":"ayer"}',
  `{"evento":"${'e'.repeat(300)}"}`,
  '{"evento":"x\\u0000y"}',
  Buffer.from([0x7b, 0xff, 0xfe, 0x7d]),
  Buffer.from('{"evento":"x","cuerpo":"\xe9"}', 'latin1'),
  // Whole, it would be an ordinary message, however deep.
  `{"evento":"x","datos":${'['.repeat(5000)}${']'.repeat(4999)}}`,
  '\ufeff{"evento":"x"',
]

async function push(arena: Arena, entry: string | Buffer): Promise<void> {
  await arena.client.lpush(arena.keys.inbox, entry)
}

/** A listener whose callback is a program of this text. */
async function callbackProgram(arena: Arena, name: string, text: string): Promise<string> {
  const file = join(arena.folder, name)
  await writeFile(file, text)
  await chmod(file, 0o755)
  return file
}

async function reloaded(arena: Arena): Promise<void> {
  const seen = arena.workers.map(({ log }) => count(log))
  await arena.writeIni()
  await until(() => arena.workers.every(({ log }, i) => count(log) > seen[i]!), {
    what: 'the reload of the configuration',
  })
}

function count(log: readonly Readonly<Record<string, unknown>>[]): number {
  return log.filter(({ mensaje }) => mensaje === 'configuración recargada').length
}

/** A callback for every message of one event, so that the ordinary cast stays as it is. */
const withoutCallbacks: Cast = {
  ...usualCast,
  roles: usualCast.roles.map((role) => {
    const { on_failure: _, ...settings } = role.settings
    return { ...role, settings }
  }),
}

export const poisonFaults: readonly Fault[] = [
  {
    name: 'veneno: entradas malformadas',
    short: true,
    mixable: true,
    inflict: async (arena) => {
      for (const entry of GARBAGE) {
        await push(arena, entry)
        arena.malformed.push(entry)
      }
    },
  },
  {
    name: 'veneno: mensaje de 50 MB',
    // Reading 50 MB of JSON keeps a worker from renewing for a second or more: not for longer than a lease as people have it.
    arena: { ini: { workers: { arriendo: '20s', max_mensaje: '64M' } } },
    traffic: { messages: 150, over: 2500 },
    patience: 120_000,
    inflict: async (arena) => {
      const before = arena.wire.requests.length
      await push(arena, `{"id":"gigante","evento":"aviso.gigante","datos":"${'x'.repeat(50 * 1024 * 1024)}"}`)
      await until(() => arena.wire.requests.some(({ id }) => id === 'gigante'), {
        timeout: 60_000,
        what: '50 MB on the wire',
      })
      if (arena.wire.requests.length === before) throw new Error('nothing else was delivered')
    },
  },
  {
    name: 'veneno: cuerpos con NUL y Unicode roto',
    inflict: async (arena) => {
      const bodies = [
        `"cuerpo":"a\\u0000b"`,
        `"datos":"\\ud800"`,
        `"datos":{"\\u0000":"\\u0000"}`,
        `"cuerpo_base64":"/wD/AA=="`,
        `"cuerpo":"","cabeceras":{"X-Nul":"a\\u0000b"}`,
        `"cuerpo":"","cabeceras":{"X Mala":"a\\r\\nX-Otra: b"}`,
        `"cuerpo":"","ruta":"../../../etc/passwd\\u0000"`,
        `"cuerpo":"","tipo_contenido":"a\\r\\nb"`,
        `"cuerpo":"","creado":"9999-12-31T23:59:59Z"`,
        `"cuerpo":"","creado":"0001-01-01T00:00:00Z"`,
        `"cuerpo":"","clave":"\\u0000"`,
        `"cuerpo":"","listener":"no_existe"`,
        `"cuerpo":"","metodo":"GET"`,
      ]
      for (const [i, body] of bodies.entries()) await push(arena, `{"id":"raro-${i}","evento":"aviso.raro",${body}}`)
    },
    verify: async (arena) => {
      const rows = (await arena.sql`
        SELECT m.id, string_agg(e.estado, ' ') AS estados FROM ${arena.sql(arena.schema)}.mensaje m
          LEFT JOIN ${arena.sql(arena.schema)}.entrega e ON e.mensaje_id = m.id
         WHERE m.id LIKE 'raro-%' GROUP BY 1`) as unknown as { id: string; estados: string | null }[]
      const open = rows.filter(({ estados }) => /pendiente|reintentando/.test(estados ?? ''))
      return [
        ...(rows.length === 13 ? [] : [`${rows.length} of 13 strange messages are in the audit`]),
        ...open.map(({ id, estados }) => `${id}: ${estados}`),
      ]
    },
  },
  {
    name: 'veneno: callbacks que cuelgan, se bifurcan o mueren',
    arena: { cast: withoutCallbacks, ini: { reintentos: { estrategia: 'lista', esperas: '200ms', jitter: '0%' } } },
    patience: 150_000,
    traffic: { messages: 200, over: 3000 },
    rules: { except: ['tropieza'] },
    inflict: async (arena) => {
      const programs = {
        cuelga: '#!/bin/sh\nsleep 1000\n',
        bifurca: '#!/bin/sh\n(sleep 1000 &)\n(setsid sleep 1000 >/dev/null 2>&1 &)\nexit 0\n',
        muere: '#!/bin/sh\nkill -9 $$\n',
        sordo: '#!/bin/sh\nexec <&-\nexit 0\n',
        charla: '#!/bin/sh\nyes | head -c 100000000\n',
      }
      const { url } = await arena.wire.listener('avisos', () => ({ status: 200 }))
      for (const [name, text] of Object.entries(programs)) {
        const file = await callbackProgram(arena, `${name}.sh`, text)
        arena.sections[`listener cb_${name}`] = {
          url,
          eventos: `callback.${name}`,
          on_success: `exec:${file}`,
        }
      }
      await reloaded(arena)
      for (const name of Object.keys(programs)) await push(arena, `{"evento":"callback.${name}","cuerpo":"{}"}`)
      const before = arena.wire.requests.length
      await sleep(1500)
      if (arena.wire.requests.length === before) throw new Error('hanging callbacks stopped the deliveries')
    },
    verify: async (arena) => {
      const rows = (await arena.sql`
        SELECT listener, array_agg(resultado ORDER BY intento) AS resultados FROM ${arena.sql(arena.schema)}.callback
         GROUP BY 1`) as unknown as { listener: string; resultados: string[] }[]
      const told = Object.fromEntries(rows.map(({ listener, resultados }) => [listener, resultados.at(-1)]))
      const wanted = {
        cb_bifurca: 'exito',
        cb_charla: 'exito',
        cb_cuelga: 'fallo',
        cb_muere: 'fallo',
        cb_sordo: 'exito',
      }
      return Object.entries(wanted)
        .filter(([name, result]) => told[name] !== result)
        .map(([name, result]) => `callback ${name} ended ${told[name]}, not ${result}`)
    },
  },
  {
    name: 'veneno: listener quitado, renombrado y desactivado con entregas en espera',
    patience: 90_000,
    inflict: async (arena) => {
      const section = 'listener lento'
      const settings = arena.sections[section]!
      await sleep(600)
      delete arena.sections[section]
      await reloaded(arena)
      await sleep(1200)
      // Back under its name: what waited for it goes on.
      arena.sections[section] = settings
      await reloaded(arena)
      await sleep(600)
      arena.sections[section] = { ...settings, activo: 0 }
      await reloaded(arena)
      await sleep(1200)
      arena.sections[section] = settings
      await reloaded(arena)
    },
    // Who listens is decided when a message is taken: those taken meanwhile are not for it.
    rules: { except: ['lento'], fanOutMayDiffer: true },
    verify: async (arena) => {
      const rows = (await arena.sql`
        SELECT estado, count(*)::int AS n FROM ${arena.sql(arena.schema)}.entrega WHERE listener = 'lento' GROUP BY 1`) as unknown as {
        estado: string
        n: number
      }[]
      return rows
        .filter(({ estado }) => estado !== 'exitosa')
        .map(({ estado, n }) => `${n} deliveries of lento are ${estado}`)
    },
  },
  {
    name: 'veneno: configuración rota, y la misma de vuelta, sin parar',
    rules: { mayRefuse: [3] },
    inflict: async (arena) => {
      for (let i = 0; i < 4; i++) {
        await writeFile(
          join(arena.folder, 'resthooks.ini'),
          '[listener roto\nurl == \n[workers]\nconcurrencia = muchas\n',
        )
        for (const worker of arena.workers) worker.kill('SIGHUP')
        await sleep(300)
        await arena.writeIni()
        for (const worker of arena.workers) worker.kill('SIGHUP')
        await sleep(300)
      }
      await arena.writeIni()
    },
  },
  {
    name: 'veneno: reloj del worker que salta',
    workers: 1,
    traffic: { over: 6000 },
    inflict: async (arena) => {
      const file = await clockJumps(arena)
      const [jumping] = arena.start(1, {
        NODE_OPTIONS: `--require ${join(arena.folder, 'reloj.cjs')}`,
        CAOS_RELOJ: file,
      })
      await arena.up([jumping!])
      await arena.stop([arena.workers[0]!])
      for (const offset of [-3_600_000, 86_400_000, 0, -60_000, 0]) {
        await writeFile(file, String(offset))
        // Longer than a lease: one that is not renewed because of the clock would be lost.
        await sleep(1200)
      }
    },
    verify: async (arena) => {
      const lost = arena.history.flatMap(({ log }) =>
        log.filter(({ mensaje }) => /perdió el arriendo/.test(String(mensaje))),
      )
      return lost.length > 0 ? [`${lost.length} leases were lost because of the clock`] : []
    },
  },
  {
    name: 'veneno: pocos descriptores de archivo',
    workers: 0,
    inflict: async (arena) => {
      const worker = arena.startThrough('/bin/sh', ['-c', 'ulimit -n 64; exec "$@"', 'sh'])
      await arena.up([worker])
    },
    startsLate: true,
  },
  {
    name: 'veneno: disco del log lleno',
    workers: 0,
    startsLate: true,
    inflict: async (arena) => {
      const full = openSync('/dev/full', 'w')
      arena.startInto(full)
      closeSync(full)
      await sleep(2500)
      // Something to log about, all the time.
      for (let i = 0; i < 20; i++) {
        await push(arena, 'basura')
        arena.malformed.push('basura')
        await sleep(50)
      }
    },
  },
  {
    name: 'veneno: configuración que falta, vacía, sin listeners o a medio escribir',
    traffic: { over: 6000 },
    // Read at its worst moment, what is left of the file may be wrong where `send` looks.
    rules: { mayRefuse: [3] },
    inflict: async (arena) => {
      const ini = join(arena.folder, 'resthooks.ini')
      const whole = await readFile(ini)
      const spoil: readonly (() => Promise<unknown>)[] = [
        () => rm(ini),
        () => writeFile(ini, ''),
        () => writeFile(ini, '; nada\n# nada\n'),
        () => writeFile(ini, 'resthooks_activo = 1\n'),
        () => writeFile(ini, whole.subarray(0, arena.dice.between(1, whole.length - 1))),
        () => writeFile(ini, whole.subarray(0, whole.lastIndexOf('[listener '))),
      ]
      // The last one is a file that a person might mean, but for how short a time it stands there.
      for (const each of spoil.slice(0, -1)) {
        await each()
        await sleep(arena.dice.between(100, 1200))
        for (let i = 1; i <= 4; i++) await writeFile(ini, whole.subarray(0, Math.round((whole.length * i) / 4)))
        await sleep(arena.dice.between(50, 300))
      }
      await spoil.at(-1)!()
      await writeFile(ini, whole)
    },
  },
  {
    name: 'veneno: dos workers con configuraciones distintas',
    workers: 1,
    traffic: { over: 5000 },
    // The second one knows only one listener: what it takes reaches that one alone, and nothing is stuck between the two.
    rules: { except: ['lento', 'tropieza', 'ordenado'], fanOutMayDiffer: true },
    inflict: async (arena) => {
      const other = join(arena.folder, 'otra.ini')
      const whole = { ...arena.sections }
      for (const name of ['lento', 'tropieza', 'ordenado']) delete arena.sections[`listener ${name}`]
      await arena.writeIni(other)
      Object.assign(arena.sections, whole)
      const started = arena.start(1, { RESTHOOKS_INI: other })
      await arena.up(started)
      await sleep(3000)
    },
    verify: async (arena) => {
      const rows = (await arena.sql`
        SELECT count(*)::int AS n FROM ${arena.sql(arena.schema)}.entrega WHERE estado NOT IN ('exitosa', 'fallida')`) as unknown as [
        { n: number },
      ]
      return rows[0].n > 0 ? [`${rows[0].n} deliveries are not final`] : []
    },
  },
]

/** A clock that reads its offset from a file: what NTP or an administrator does to a machine. */
async function clockJumps(arena: Arena): Promise<string> {
  const file = join(arena.folder, 'reloj.txt')
  await writeFile(file, '0')
  await writeFile(
    join(arena.folder, 'reloj.cjs'),
    `const { readFileSync } = require('node:fs')
const RealDate = Date
let offset = 0
const look = () => { try { offset = Number(readFileSync(process.env.CAOS_RELOJ, 'utf8')) || 0 } catch {} }
setInterval(look, 20).unref()
globalThis.Date = class extends RealDate {
  constructor(...args) { args.length === 0 ? super(RealDate.now() + offset) : super(...args) }
  static now() { return RealDate.now() + offset }
}
`,
  )
  return file
}

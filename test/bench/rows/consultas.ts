/** Reading a large audit: whole commands, as a person at a terminal waits for them. */
import { Installation } from '../installation.ts'
import { timesOf, together } from '../processes.ts'
import type { Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const OWN = 'resthooks'
const MOST_MS = 300
const TURNS = 3

const LINES = [
  { key: 'auditoria', label: 'auditoria' },
  { key: 'evento', label: 'auditoria --evento' },
  { key: 'raro', label: 'auditoria --evento (uno de cinco veces al año)' },
  { key: 'ausente', label: 'auditoria --clave (que nadie usó)' },
  { key: 'raroAjeno', label: 'auditoria --evento (el raro) --listener (que no lo recibe)' },
  { key: 'ajeno', label: 'auditoria --evento --listener (que recibe sólo otro)' },
  { key: 'sinFallos', label: 'auditoria --evento --estado fallida (nunca falló)' },
  { key: 'patron', label: "auditoria --evento '*.alta'" },
  { key: 'fallidas', label: 'auditoria --listener --estado fallida' },
  { key: 'ver', label: 'ver ID' },
  { key: 'estado', label: 'estado' },
] as const

export const consultas: Row = {
  name: 'consultas',
  title: 'Consultas de la auditoría, el proceso entero',
  lines: LINES.map((line) => ({ ...line, unit: 'ms' }) as const),
  goals: () => LINES.map(({ key }) => ({ kind: 'at most', line: key, who: OWN, value: MOST_MS }) as const),
  contenders: async (bench) => {
    await bench.fresh()
    const sections = [...LISTENERS, APART.listener].map((name) => [
      `listener ${name}`,
      { url: `${bench.nginx.url}/${name}` },
    ])
    const installation = await Installation.create(bench, Object.fromEntries(sections))
    await writeHistory(bench, installation, bench.options.attempts, (text) =>
      process.stderr.write(`consultas: ${text}\n`),
    )
    const { sql } = bench
    const [message] = await sql`
      SELECT mensaje_id FROM ${sql(installation.schema)}.entrega
       WHERE intentos = 2 AND estado = 'exitosa' AND creado < now() - interval '100 days' ORDER BY creado DESC LIMIT 1`
    const commandLines: Readonly<Record<(typeof LINES)[number]['key'], readonly string[]>> = {
      auditoria: ['auditoria'],
      evento: ['auditoria', '--evento', EVENTS[0]!],
      raro: ['auditoria', '--evento', RARE_EVENT],
      ausente: ['auditoria', '--clave', 'nadie-la-uso'],
      raroAjeno: ['auditoria', '--evento', RARE_EVENT, '--listener', APART.listener],
      ajeno: ['auditoria', '--evento', COMMON_EVENT, '--listener', APART.listener],
      sinFallos: ['auditoria', '--evento', COMMON_EVENT, '--estado', 'fallida'],
      patron: ['auditoria', '--evento', '*.alta'],
      fallidas: ['auditoria', '--listener', LISTENERS[0]!, '--estado', 'fallida'],
      ver: ['ver', message!.mensaje_id],
      estado: ['estado'],
    }
    const commands = LINES.map(({ key }) => ({
      program: process.execPath,
      args: [bench.program, ...commandLines[key]],
      env: installation.environment,
    }))
    const [measure] = together(1, async () => [await timesOf(commands, TURNS)])
    return [
      {
        who: OWN,
        role: 'own',
        measure: async () => {
          const times = await measure!()
          return Object.fromEntries(LINES.map(({ key }, i) => [key, times[i]!]))
        },
        end: () => installation.end(),
      },
    ]
  },
}

const EVENTS = [
  'proveedor.alta',
  'proveedor.baja',
  'proveedor.cambio',
  'compra.alta',
  'compra.autorizada',
  'persona.alta',
]
/** A sixth of all, and none of them failed. */
const COMMON_EVENT = 'compra.alta'
const LISTENERS = ['diaguita', 'pilaga', 'mapuche', 'guarani', 'portal']
/** Comes a handful of times a year, none of them of late. */
const RARE_EVENT = 'ejercicio.cierre'
const RARE_TIMES = 5
/** A listener with an event of its own, one of two hundred messages: it never gets any other. */
const APART = { event: 'pago.emitido', listener: 'tesoreria' }
const INSTANCIA = 'banco'
const MONTHS = 13
/** Messages in one statement. */
const PART = 250_000
/** Of 5 messages, 4 have one attempt and 1 has two. */
const ATTEMPTS_A_MESSAGE = 1.2

/** @param told what is going on */
async function writeHistory(
  { sql }: Bench,
  { schema, proyecto }: Installation,
  attempts: number,
  told: (text: string) => void,
): Promise<void> {
  await makePastPartitions(sql, schema)
  const messages = Math.ceil(attempts / ATTEMPTS_A_MESSAGE)
  // The last message is of now, the first one of a year ago. Whole ms, as a ULID has them; one clock for all statements, so
  // that they make the same ids.
  const now = Date.now()
  const at = `(${now} - (${messages} - n) * (365 * 86400000::float8 / ${messages}))::bigint`
  const numbers = (from: number, to: number) => `
    WITH numero AS (SELECT n, ${at} AS ms FROM generate_series(${from}, ${to}) AS n),
    m AS (SELECT n, to_timestamp(ms / 1000.0) AS cuando, ${ulidSql('ms', 'n')} AS id,
                 ${rareOr(apartOr('event', pick(EVENTS, 'n')), messages)} AS evento,
                 ${apartOr('listener', pick(LISTENERS, 'n / 7'))} AS listener,
                 n % 200 = 0 AS fallida, n % 5 = 0 AS dos
            FROM numero)`
  const inserts = [
    `INSERT INTO ${schema}.mensaje (id, instancia, proyecto, evento, cabeceras, tipo_contenido, cuerpo, origen, listeners, creado, recibido)
     SELECT id, '${INSTANCIA}', '${proyecto}', evento, '{}', 'application/json', convert_to('{"id":' || n || '}', 'UTF8'),
            'servidor resthooks send', 1, cuando, cuando FROM m`,
    `INSERT INTO ${schema}.entrega (mensaje_id, listener, instancia, proyecto, evento, estado, intentos, motivo, creado, actualizado, version)
     SELECT id, listener, '${INSTANCIA}', '${proyecto}', evento, CASE WHEN fallida THEN 'fallida' ELSE 'exitosa' END,
            CASE WHEN dos THEN 2 ELSE 1 END, CASE WHEN fallida THEN 'HTTP 422' END, cuando, cuando + interval '1 s', 2 FROM m`,
    `INSERT INTO ${schema}.intento (id, mensaje_id, listener, instancia, proyecto, numero, pedido, inicio, duracion_ms, metodo, url, ip,
                                    pedido_cabeceras, http_estado, respuesta_cabeceras, respuesta_cuerpo, resultado, worker)
     SELECT left(id, 25) || numero, id, listener, '${INSTANCIA}', '${proyecto}', numero, 1, cuando + numero * interval '1 s', 20 + n % 50,
            'POST', 'https://' || listener || '.example.edu.ar/rest/novedades', '10.0.0.1',
            jsonb_build_object('content-type', 'application/json', 'webhook-id', id, 'x-resthooks-evento', evento),
            CASE WHEN fallida THEN 422 WHEN dos AND numero = 1 THEN 503 ELSE 200 END,
            '{"server":"nginx","content-type":"application/json"}', '\\x7b226f6b223a747275657d',
            CASE WHEN fallida THEN 'fallo' WHEN dos AND numero = 1 THEN 'reintento' ELSE 'exito' END, 'servidor:1234:abcdef'
       FROM m, generate_series(1, CASE WHEN dos AND NOT fallida THEN 2 ELSE 1 END) AS numero`,
  ]
  for (let from = 1; from <= messages; from += PART) {
    const to = Math.min(from + PART - 1, messages)
    for (const insert of inserts) await sql.unsafe(`${numbers(from, to)} ${insert}`)
    told(`${to} de ${messages} mensajes escritos`)
  }
  const [strays] = await sql.unsafe(`
    SELECT count(*)::int AS count FROM ${schema}.entrega e
     WHERE NOT EXISTS (SELECT FROM ${schema}.mensaje m WHERE m.id = e.mensaje_id)`)
  if (strays!.count > 0) throw new Error(`${strays!.count} deliveries of the history belong to no message`)
  // As autovacuum would have done it in a year.
  for (const table of ['mensaje', 'entrega', 'intento']) await sql.unsafe(`VACUUM ANALYZE ${schema}.${table}`)
}

/** The partitions that a year of running would have left behind; `crear_particiones` only looks ahead. */
async function makePastPartitions(sql: Bench['sql'], schema: string): Promise<void> {
  for (const table of ['mensaje', 'intento']) {
    for (let ago = 1; ago <= MONTHS; ago++) {
      const [month] = await sql`
        SELECT to_char(since, '"_"YYYY"_"MM') AS suffix, since::text || '+00' AS since,
               (since + interval '1 month')::text || '+00' AS until
          FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => ${ago}) AS since) m`
      const part = `${schema}.${table}${month!.suffix}`
      await sql.unsafe(`CREATE TABLE ${part} (LIKE ${schema}.${table} INCLUDING ALL)`)
      await sql.unsafe(`
        ALTER TABLE ${schema}.${table} ATTACH PARTITION ${part} FOR VALUES FROM ('${month!.since}') TO ('${month!.until}')`)
    }
  }
}

/** SQL of a ULID: 10 digits of time, 16 that no two numbers share. */
function ulidSql(ms: string, number: string): string {
  const digit = (shift: number) => `substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((${ms} >> ${shift}) & 31)::int + 1, 1)`
  const time = Array.from({ length: 10 }, (_, i) => digit(45 - 5 * i)).join(' || ')
  return `${time} || upper(substr(md5(${number}::text), 1, 6)) || lpad(${number}::text, 10, '0')`
}

function pick(names: readonly string[], number: string): string {
  return `(ARRAY[${names.map((name) => `'${name}'`).join(',')}])[1 + (${number}) % ${names.length}]`
}

function apartOr(what: 'event' | 'listener', usual: string): string {
  return `CASE WHEN n % 200 = 100 THEN '${APART[what]}' ELSE ${usual} END`
}

/** The rare event in the middle of each fifth of the year. */
function rareOr(usual: string, messages: number): string {
  const fifth = Math.ceil(messages / RARE_TIMES)
  return `CASE WHEN n % ${fifth} = ${fifth >> 1} THEN '${RARE_EVENT}' ELSE ${usual} END`
}

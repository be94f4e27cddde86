/** Reading a large audit: whole commands, as a person at a terminal waits for them. */
import { APART, COMMON_EVENT, EVENTS, LISTENERS, RARE_EVENT, writeHistory } from '../history.ts'
import { Installation } from '../installation.ts'
import type { Row } from '../row.ts'
import { timesOf, together } from '../timed.ts'

const OWN = 'resthooks'
const MOST_MS = 300
const TURNS = 3

const LINES = [
  { key: 'auditoria', label: 'auditoria' },
  { key: 'evento', label: 'auditoria --evento' },
  { key: 'raro', label: 'auditoria --evento (uno de cinco veces al año)' },
  { key: 'ausente', label: 'auditoria --evento (uno que no existe)' },
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
      ausente: ['auditoria', '--evento', 'nadie.lo.envia'],
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

/** `ver ID`: one message with its whole timeline. */
import type { Command } from 'commander'
import type { AttemptColumns, CallbackColumns, MessageColumns, Timeline } from '../audit/queries.ts'
import { withheld } from '../delivery/mask.ts'
import { OperationFailed } from '../errors.ts'
import { visible } from '../model/secrets.ts'
import { bodyLines, bodyText, contentTypeOf, phaseText } from '../model/wire-text.ts'
import type { Context } from './context.ts'
import { duration, json, line, localTime, oneLine, tableText } from './print.ts'

export function ver(program: Command, context: Context): void {
  program
    .command('ver')
    .description('muestra un mensaje con toda su historia: contenido, entregas, cada pedido HTTP y cada callback')
    .argument('<id>', 'el id que devolvió send, o el de la columna mensaje_id de auditoria')
    .option('--json', 'un documento JSON, con los cuerpos completos')
    .action(async (id: string, options: { json?: boolean }) => {
      const audit = await context.audit()
      const timeline = await audit.message(id)
      if (!timeline) throw await unknownMessage(id, context)
      const { secrets } = await context.config()
      const shown = { ...timeline, message: timeline.message && withheld(timeline.message, secrets) }
      if (options.json) return json(documentOf(shown))
      for (const each of await timelineLines(id, shown)) line(each)
    })
}

async function unknownMessage(id: string, context: Context): Promise<OperationFailed> {
  const { instancia, proyecto } = await context.config()
  return new OperationFailed(
    `La auditoría no tiene ningún mensaje «${id}» de la instancia «${instancia}», proyecto «${proyecto}». ` +
      'Si se envió hace poco puede estar todavía en la cola, o su auditoría sin escribir en Postgres: vea «resthooks estado» ' +
      'y que haya workers en marcha. Si es viejo, puede haberlo borrado «resthooks purgar».',
  )
}

/** The keys of `--json`, in Spanish as the columns; bodies as text where they are text, else in base64. */
function documentOf({ message, deliveries, attempts, callbacks }: Timeline) {
  return {
    mensaje: message && withTextBody(message, 'cuerpo', message.tipo_contenido),
    entregas: deliveries,
    intentos: attempts.map((attempt) => {
      const type = contentTypeOf(attempt.respuesta_cabeceras)
      return withTextBody(attempt, 'respuesta_cuerpo', type)
    }),
    callbacks,
  }
}

function withTextBody<Row extends object, Name extends keyof Row & string>(row: Row, name: Name, type: string | null) {
  const body = row[name] as Buffer | null
  if (body === null) return row
  const text = bodyText(body, type)
  return text === null
    ? { ...row, [name]: null, [`${name}_base64`]: body.toString('base64') }
    : { ...row, [name]: text }
}

const RESULTS = { exito: 'éxito', reintento: 'se reintentará', fallo: 'fallo' } as const
/** The message, its deliveries, then everything that happened, in order. */
async function timelineLines(id: string, timeline: Timeline): Promise<string[]> {
  const { message, deliveries, attempts, callbacks } = timeline
  const lines = message
    ? await messageLines(message)
    : [`Mensaje ${oneLine(id)}`, '  (su contenido no está en la auditoría: todavía no se escribió, o fue rechazado)']
  lines.push('', deliveries.length === 0 ? noDeliveries(message) : 'Entregas')
  if (deliveries.length > 0) {
    const columns = ['listener', 'estado', 'intentos', 'proximo_intento', 'actualizado', 'motivo'] as const
    lines.push(...indent((await tableText(deliveries, columns)).split('\n')))
  }
  if (attempts.length + callbacks.length > 0) lines.push('', 'Historia')
  const happened = [
    ...attempts.map((attempt) => ({
      at: attempt.inicio,
      lines: () => attemptLines(attempt, isFollowed(attempt, attempts)),
    })),
    ...callbacks.map((callback) => ({ at: callback.fecha, lines: async () => callbackLines(callback) })),
  ].sort((a, b) => a.at.getTime() - b.at.getTime())
  for (const entry of happened) lines.push(...indent(await entry.lines()))
  return lines
}

async function messageLines(message: MessageColumns): Promise<string[]> {
  const facts: [string, string | null][] = [
    ['evento', message.evento],
    ['creado', localTime(message.creado)],
    ['recibido', localTime(message.recibido)],
    ['repetido', (message.veces ?? 1) > 1 ? `${message.veces} mensajes con este id; éste es el último` : null],
    ['demorado', message.no_antes_de && `hasta ${localTime(message.no_antes_de)}`],
    ['origen', message.origen],
    ['clave', message.clave],
    ['método', message.metodo],
    ['ruta', message.ruta],
    ['solo para', message.solo_listener],
    ['proviene de', message.profundidad > 0 ? `un callback (nivel ${message.profundidad})` : null],
    ['proyecto', `${message.proyecto} (${message.instancia})`],
  ]
  const lines = [`Mensaje ${oneLine(message.id)}`]
  for (const [name, value] of facts) if (value) lines.push(`  ${name.padEnd(12)}${oneLine(value)}`)
  for (const [name, value] of Object.entries(message.cabeceras))
    lines.push(`  ${'cabecera'.padEnd(12)}${header(name, value)}`)
  const type = message.tipo_contenido ?? 'sin tipo'
  if (message.cuerpo === null) return [...lines, '  cuerpo      (no se guarda: auditar_cuerpo = 0)']
  lines.push(`  cuerpo      ${oneLine(type)}, ${message.cuerpo.length} bytes`)
  return [...lines, ...indent(await bodyLines(message.cuerpo, message.tipo_contenido), 4)]
}

function noDeliveries(message: MessageColumns | null): string {
  if (message?.listeners === null) return 'Todavía corre su demora: se entregará cuando termine.'
  return message?.listeners === 0
    ? 'Ningún listener recibe este evento. Cuando haya uno: resthooks reenviar ID.'
    : 'Todavía no hay entregas escritas.'
}

/** Whether the attempt went on after this request: with credentials, in another place, or once more. */
function isFollowed({ listener, numero, pedido }: AttemptColumns, attempts: readonly AttemptColumns[]): boolean {
  return attempts.some((other) => other.listener === listener && other.numero === numero && other.pedido > pedido)
}

/** What became of a request: an answer that only leads to the next one is no failed attempt. */
function resultText({ resultado, http_estado: status }: AttemptColumns, followed: boolean): string {
  if (!followed || resultado !== 'reintento') return RESULTS[resultado]
  if (status === 401) return 'desafío: se contesta en el pedido siguiente'
  if (status !== null && status >= 300 && status < 400) return 'se sigue la redirección'
  return 'sigue en el pedido siguiente'
}

async function attemptLines(attempt: AttemptColumns, followed: boolean): Promise<string[]> {
  const which = `intento ${attempt.numero}${attempt.pedido > 1 ? ` (pedido ${attempt.pedido})` : ''}`
  const answer = attempt.http_estado === null ? (attempt.error ?? 'sin respuesta') : String(attempt.http_estado)
  const head = [
    localTime(attempt.inicio),
    oneLine(attempt.listener),
    which,
    `${oneLine(attempt.metodo)} ${oneLine(attempt.url)}`,
    `→ ${oneLine(answer)}`,
    `(${duration(attempt.duracion_ms)})`,
    resultText(attempt, followed),
  ]
  const phases = Object.entries(attempt.fases ?? {}).map(([name, ms]) => `${phaseText(name)} ${duration(ms)}`)
  const lines = [head.join('  ')]
  const add = (name: string, value: string | null) => value && lines.push(`    ${name.padEnd(12)}${value}`)
  if (attempt.error !== null) add('error', oneLine([attempt.error, attempt.error_detalle].filter(Boolean).join(': ')))
  add('fases', phases.join(', '))
  add('dirección', attempt.ip)
  add('worker', oneLine(attempt.worker))
  add('reintento', attempt.proximo_intento && localTime(attempt.proximo_intento))
  for (const [name, value] of Object.entries(attempt.pedido_cabeceras)) add('pedido', header(name, value))
  for (const [name, value] of Object.entries(attempt.respuesta_cabeceras ?? {})) {
    for (const each of [value].flat()) add('respuesta', header(name, each))
  }
  if (attempt.respuesta_cuerpo?.length) {
    const cut = attempt.respuesta_truncada ? ', cortado en max_respuesta' : ''
    add('cuerpo', `${attempt.respuesta_cuerpo.length} bytes${cut}`)
    const type = contentTypeOf(attempt.respuesta_cabeceras)
    lines.push(...indent(await bodyLines(attempt.respuesta_cuerpo, type), 6))
  }
  return lines
}

function callbackLines(callback: CallbackColumns): string[] {
  const which = callback.intento > 1 ? `${callback.tipo} (intento ${callback.intento})` : callback.tipo
  const head = [localTime(callback.fecha), oneLine(callback.listener), which, oneLine(callback.destino)]
  const lines = [[...head, RESULTS[callback.resultado]].join('  ')]
  if (callback.detalle) lines.push(...indent(visible(callback.detalle).trimEnd().split('\n'), 4))
  return lines
}

function header(name: string, value: string): string {
  return oneLine(`${name}: ${value}`)
}

function indent(lines: readonly string[], by = 2): string[] {
  return lines.map((each) => (each === '' ? '' : ' '.repeat(by) + each))
}

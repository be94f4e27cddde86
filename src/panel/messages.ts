/** What the page asks about messages and deliveries, answered from the commands' queries. */
import { evidenceOf, evidenceText } from '../audit/evidence.ts'
import type {
  AttemptColumns,
  DeliveryColumns,
  DeliveryFilters,
  DeliveryListing,
  MessageColumns,
  PageAsked,
} from '../audit/queries.ts'
import { newestAttempt } from '../audit/timeline.ts'
import { toBeTyped } from '../checks/causes.ts'
import { messageReport } from '../checks/message-report.ts'
import type { Waiting } from '../checks/waiting.ts'
import { withheld } from '../delivery/mask.ts'
import { UsageError } from '../errors.ts'
import type { Secrets } from '../model/secrets.ts'
import { contentTypeOf, phaseText } from '../model/wire-text.ts'
import { amount, count, duration } from '../model/words.ts'
import type { Viewer } from './access.ts'
import { searchOf, searchSentence } from './search.ts'
import { clean, curlOf, shownBody, shownBytes, shownHeaders } from './shown.ts'
import { type Sources, whoIsAway } from './sources.ts'
import type { Attempt, Count, Delivery, Exchange, Listing, Message, Row } from './wire.ts'

const PAGE = 50

/** One page of a search, newest first. */
export async function listing(
  sources: Sources,
  viewer: Viewer,
  q: string,
  after: string | undefined,
): Promise<Listing> {
  const { config } = sources
  const search = searchOf(viewer, q, [...config.listeners.keys()])
  const page = { limit: PAGE, cursor: after }
  const { rows, next } = search.unheard
    ? await unheardRows(sources, search.filters, page)
    : await deliveryRows(sources, search.filters, page)
  return {
    chips: search.chips.map((chip) => ({ ...chip, valor: clean(chip.valor, config.secrets) })),
    buscado: clean(searchSentence(search), config.secrets),
    porOmision: search.byDefault,
    filas: rows,
    siguiente: next,
  }
}

/** How many a search finds. */
export async function countOf({ audit, config }: Sources, viewer: Viewer, q: string): Promise<Count> {
  const search = searchOf(viewer, q, [...config.listeners.keys()])
  if (search.unheard) throw new UsageError('los que ningún listener recibió se cuentan página por página.')
  const counts = await audit.count(search.filters, 'estado')
  return { cantidad: counts.reduce((sum, { entregas }) => sum + entregas, 0) }
}

interface Rows {
  readonly rows: readonly Row[]
  readonly next: string | null
}

async function deliveryRows({ audit, config }: Sources, filters: DeliveryFilters, page: PageAsked): Promise<Rows> {
  const { rows, next } = await audit.deliveries(filters, page)
  return { rows: rows.map((row) => rowOf(row, config.secrets)), next }
}

async function unheardRows({ audit, config }: Sources, filters: DeliveryFilters, page: PageAsked): Promise<Rows> {
  const { rows, next } = await audit.unheard(filters, page)
  const { secrets } = config
  const shown = rows.map(
    ({ id, evento, solo_listener, recibido }): Row => ({
      id,
      evento: clean(evento, secrets),
      listener: '',
      estado: 'sin listener',
      intentos: 0,
      creado: recibido.toISOString(),
      actualizado: recibido.toISOString(),
      motivo: solo_listener ? clean(`era sólo para ${solo_listener}`, secrets) : 'ningún listener recibe ese evento',
    }),
  )
  return { rows: shown, next }
}

export function rowOf(row: DeliveryListing, secrets: Secrets): Row {
  return {
    id: row.mensaje_id,
    evento: clean(row.evento ?? '', secrets),
    listener: clean(row.listener, secrets),
    estado: row.estado,
    intentos: row.intentos,
    creado: row.creado.toISOString(),
    actualizado: row.actualizado.toISOString(),
    motivo: clean(row.motivo ?? '', secrets),
  }
}

/** Null: neither the audit nor the queue knows anything of it. */
export async function message(sources: Sources, viewer: Viewer, id: string): Promise<Message | null> {
  const { config, audit, queue } = sources
  const { secrets } = config
  const explain = async (error: unknown) => sources.explain(error)
  const report = await messageReport(id, { config, audit: async () => audit, queue: async () => queue, explain })
  const { timeline, waiting, undispatched, troubles } = report
  if (timeline === null) {
    if (troubles[0]) throw troubles[0]
    return null
  }
  const sent = timeline.message && withheld(timeline.message, secrets)
  const entregas = timeline.deliveries.map((delivery): Delivery => {
    const attempts = timeline.attempts.filter(({ listener }) => listener === delivery.listener)
    const wait = waiting.get(delivery.listener)
    return {
      listener: clean(delivery.listener, secrets),
      estado: delivery.estado,
      intentos: delivery.intentos,
      actualizado: delivery.actualizado.toISOString(),
      frase: clean(outcome(delivery, newestAttempt(attempts, delivery.listener)), secrets),
      espera: wait ? clean(waitText(wait), secrets) : null,
      pedidos: attempts.map((attempt) => attemptOf(attempt, secrets)),
      acciones: timeline.actions
        .filter(({ listener }) => listener === delivery.listener)
        .map(({ fecha, quien, equipo, orden }) => ({
          fecha: fecha.toISOString(),
          texto: clean(`${quien}@${equipo}: ${orden}`, secrets),
        })),
      callbacks: timeline.callbacks
        .filter(({ listener }) => listener === delivery.listener)
        .map(({ fecha, tipo, destino, resultado, detalle, intento }) => ({
          fecha: fecha.toISOString(),
          texto: clean(
            `${tipo} ${destino}${intento > 1 ? ` (intento ${intento})` : ''}${detalle ? `: ${detalle}` : ''}`,
            secrets,
          ),
          bien: resultado === 'exito',
        })),
    }
  })
  return {
    id: clean(id, secrets),
    evento: clean(sent?.evento ?? '', secrets),
    resumen: clean(summary(entregas, sent, undispatched && waitText(undispatched)), secrets),
    // What could not be asked is told on top of the page.
    ...(troubles[0] ? whoIsAway(troubles[0]) : {}),
    datos: factsOf(sent, secrets),
    creado: sent?.creado.toISOString() ?? null,
    cabeceras: shownHeaders(sent?.cabeceras ?? null, secrets),
    cuerpo: sent && (await shownBody(sent.cuerpo, sent.tipo_contenido, secrets, viewer.cuerpos)),
    entregas,
  }
}

function waitText({ motivo, que_hacer }: Waiting): string {
  return que_hacer === null ? motivo : `${motivo}. Ayuda: ${toBeTyped(que_hacer)}`
}

function outcome(
  { estado: state, intentos: made, motivo: reason }: DeliveryColumns,
  newest: ReturnType<typeof newestAttempt>,
): string {
  const { http_estado: status, error } = newest?.last ?? { http_estado: null, error: null }
  const answer = status === null ? (error ?? '') : String(status)
  const tries = made > 1 ? `, ${count(made, 'intento', 'intentos')}` : ''
  switch (state) {
    case 'exitosa':
      return `entregada: ${answer || 'aceptada'}${newest ? ` en ${duration(newest.took)}` : ''}${tries}`
    case 'fallida':
      return `falló: ${reason ?? answer}${tries}`
    case 'descartada':
      return `descartada${reason ? `: ${reason}` : ''}`
    case 'reintentando':
      return `espera un reintento: ${reason ?? answer}${tries}`
    case 'pendiente':
      return made === 0 ? 'espera' : `espera${tries}`
  }
}

const ENDS: readonly (readonly [readonly Delivery['estado'][], string, string])[] = [
  [['exitosa'], 'entregada', 'entregadas'],
  [['fallida'], 'fallida', 'fallidas'],
  [['pendiente', 'reintentando'], 'espera', 'esperan'],
  [['descartada'], 'descartada', 'descartadas'],
]

function summary(deliveries: readonly Delivery[], sent: MessageColumns | null, waits: string | null): string {
  if (deliveries.length === 0) {
    if (waits !== null) return waits
    if (sent === null) return 'su contenido no está en la auditoría: todavía no se escribió, o fue rechazado'
    return sent.listeners === null ? 'todavía corre su demora' : 'ningún listener recibe este evento'
  }
  return ENDS.flatMap(([states, one, many]) => {
    const found = deliveries.filter(({ estado }) => states.includes(estado)).length
    return found === 0 ? [] : [`${amount(found)} ${found === 1 ? one : many}`]
  }).join(' · ')
}

function factsOf(message: MessageColumns | null, secrets: Secrets): [string, string][] {
  if (message === null) return []
  const facts: [string, string | null][] = [
    ['por', message.origen],
    ['clave', message.clave],
    ['método', message.metodo],
    ['ruta', message.ruta],
    ['sólo para', message.solo_listener],
    ['con demora hasta', message.no_antes_de?.toISOString() ?? null],
    ['proviene de', message.profundidad > 0 ? `un callback (nivel ${message.profundidad})` : null],
    ['repetido', (message.veces ?? 1) > 1 ? `${message.veces} mensajes con este id; éste es el último` : null],
  ]
  return facts.flatMap(([name, value]) => (value ? [[name, clean(value, secrets)] as [string, string]] : []))
}

const RESULTS = { exito: 'aceptado', reintento: 'se reintenta', fallo: 'no se reintenta' } as const

function attemptOf(attempt: AttemptColumns, secrets: Secrets): Attempt {
  const { total: _, ...phases } = attempt.fases ?? {}
  const said =
    attempt.http_estado === null
      ? `${attempt.error ?? 'sin respuesta'}${attempt.error_detalle ? `: ${attempt.error_detalle}` : ''}`
      : `${attempt.http_estado}`
  return {
    id: attempt.id,
    numero: attempt.numero,
    pedido: attempt.pedido,
    inicio: attempt.inicio.toISOString(),
    duracion: attempt.duracion_ms,
    fases: Object.entries(phases).map(([name, ms]) => [phaseText(name), ms] as const),
    http: attempt.http_estado,
    frase: clean(`${said} → ${RESULTS[attempt.resultado]}`, secrets),
    worker: clean(attempt.worker, secrets),
  }
}

/** One request and its answer, whole. */
export async function exchange(
  sources: Sources,
  viewer: Viewer,
  id: string,
  request: string,
): Promise<Exchange | null> {
  const found = await attemptWithMessage(sources, id, request)
  if (found === null) return null
  const { attempt, body, type } = found
  const { secrets } = sources.config
  const headers = shownHeaders(attempt.pedido_cabeceras, secrets)
  const url = clean(attempt.url, secrets)
  return {
    linea: `${clean(attempt.metodo, secrets)} ${url}`,
    pedidoCabeceras: headers,
    pedidoCuerpo: await shownBody(body, type, secrets, viewer.cuerpos),
    http: attempt.http_estado,
    respuestaCabeceras: shownHeaders(attempt.respuesta_cabeceras, secrets),
    respuestaCuerpo: await shownBody(
      attempt.respuesta_cuerpo,
      contentTypeOf(attempt.respuesta_cabeceras),
      secrets,
      viewer.cuerpos,
    ),
    truncada: attempt.respuesta_truncada,
    error: attempt.error === null ? null : clean(`${attempt.error}: ${attempt.error_detalle ?? ''}`, secrets),
    ip: attempt.ip,
    curl: clean(
      curlOf({ metodo: attempt.metodo, url, cabeceras: headers, body: viewer.cuerpos ? body : null, type }),
      secrets,
    ),
  }
}

/** A request for a token is none of the message's, and its body is secret. */
async function attemptWithMessage({ audit, config }: Sources, id: string, request: string) {
  const timeline = await audit.message(id)
  const attempt = timeline?.attempts.find((each) => each.id === request)
  if (!timeline || !attempt) return null
  const sent = timeline.message && withheld(timeline.message, config.secrets)
  const names = Object.keys(attempt.pedido_cabeceras).map((name) => name.toLowerCase())
  const carries = names.includes('webhook-id')
  const type = contentTypeOf(attempt.pedido_cabeceras) ?? sent?.tipo_contenido ?? null
  return { attempt, body: carries ? (sent?.cuerpo ?? null) : null, type }
}

/** The file to hand over: what one listener was sent and what it answered. Null: there is none. */
export async function evidence(
  { audit, config }: Sources,
  version: string,
  id: string,
  listener: string,
  format: 'json' | 'texto',
) {
  const timeline = await audit.message(id)
  if (!timeline?.message) return null
  const { secrets } = config
  const shown = { ...timeline, message: withheld(timeline.message, secrets) }
  const found = evidenceOf(shown, listener, { secrets, version, now: new Date() })
  if (found === null) return null
  return format === 'json' ? JSON.stringify(found, null, 2) : `${await evidenceText(found)}\n`
}

/** The bytes of a message's body, or of one answer's (`request`), without secrets; null: there are none. */
export async function bytesOf(sources: Sources, id: string, request: string | undefined): Promise<Buffer | null> {
  const { secrets } = sources.config
  const timeline = await sources.audit.message(id)
  if (timeline?.message) withheld(timeline.message, secrets)
  const body =
    request === undefined
      ? timeline?.message?.cuerpo
      : timeline?.attempts.find((each) => each.id === request)?.respuesta_cuerpo
  return body ? secrets.hideBytes(body) : null
}

export function dumpOf(bytes: Buffer, secrets: Secrets): string {
  return shownBytes(bytes, secrets)
}

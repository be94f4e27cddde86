/** One message with everything that happened to it: what `ver` and the panel show. */
import type { Message, Millis } from '../model/message.ts'
import type { Session } from './database.ts'
import type {
  ActionEvent,
  AttemptEvent,
  AuditEvent,
  CallbackEvent,
  DeliveryState,
  DeliveryStateName,
  JsonText,
  MessageEvent,
} from './event.ts'

/** A row of `mensaje`, as it was sent. */
export interface MessageColumns {
  readonly id: string
  readonly instancia: string
  readonly proyecto: string
  readonly evento: string
  readonly metodo: string | null
  readonly ruta: string | null
  readonly cabeceras: Readonly<Record<string, string>>
  readonly tipo_contenido: string | null
  readonly cuerpo: Buffer | null
  readonly clave: string | null
  readonly origen: string | null
  readonly listeners: number | null
  readonly creado: Date
  readonly recibido: Date
  readonly no_antes_de: Date | null
  readonly solo_listener: string | null
  readonly profundidad: number
  /** How often a message with this id was received; the columns are those of the last one. Of `ver` alone. */
  readonly veces?: number
}

/** As the table has it. */
export interface MessageColumnsAsKept extends MessageColumns {
  /** JSON of the columns that do not hold exactly what was sent; a schema of before has none. */
  readonly original?: Buffer | null
}

/** A row of `mensaje`, or some of its columns, as they were sent. */
export function asSent<Row extends Partial<MessageColumnsAsKept>>({ original, ...row }: Row): Omit<Row, 'original'> {
  return original ? { ...row, ...JSON.parse(original.toString('utf8')) } : row
}

/** A row of `entrega`. */
export interface DeliveryColumns {
  readonly listener: string
  readonly estado: DeliveryStateName
  readonly intentos: number
  readonly proximo_intento: Date | null
  readonly motivo: string | null
  readonly creado: Date
  readonly actualizado: Date
}

/** A row of `intento`. */
export interface AttemptColumns {
  readonly id: string
  readonly listener: string
  readonly numero: number
  readonly pedido: number
  readonly inicio: Date
  readonly duracion_ms: number
  readonly fases: Readonly<Record<string, number>> | null
  readonly metodo: string
  readonly url: string
  readonly ip: string | null
  readonly pedido_cabeceras: Readonly<Record<string, string>>
  readonly http_estado: number | null
  readonly respuesta_cabeceras: Readonly<Record<string, string | readonly string[]>> | null
  readonly respuesta_cuerpo: Buffer | null
  readonly respuesta_truncada: boolean
  readonly error: string | null
  readonly error_detalle: string | null
  readonly resultado: 'exito' | 'reintento' | 'fallo'
  readonly proximo_intento: Date | null
  readonly worker: string
}

/** A row of `callback`. */
export interface CallbackColumns {
  readonly id: string
  readonly listener: string
  readonly tipo: 'on_success' | 'on_failure'
  readonly destino: string
  readonly intento: number
  readonly resultado: 'exito' | 'reintento' | 'fallo'
  readonly detalle: string | null
  readonly fecha: Date
}

/** A row of `accion`: what a person did last to a delivery. */
export interface ActionColumns {
  readonly listener: string
  readonly id: string
  readonly fecha: Date
  readonly quien: string
  readonly equipo: string
  /** The command line. */
  readonly orden: string
}

/** The same, whole. */
export interface DoneAction extends Omit<ActionColumns, 'listener'> {
  readonly filtro: string | null
  readonly cantidad: number
}

/** What people did, the newest first; nothing on a schema of the version before. @param before id of the last one of the page before */
export async function readActions(session: Session, limit: number, before: string | null): Promise<DoneAction[]> {
  const [known] = await session.query<{ known: boolean }>('SELECT to_regclass($1) IS NOT NULL AS known', [
    session.table('accion'),
  ])
  if (!known!.known) return []
  return session.query<DoneAction>(
    `SELECT id, fecha, quien, equipo, orden, filtro, cantidad::float8 AS cantidad FROM ${session.table('accion')}
      WHERE instancia = $1 AND proyecto = $2 AND id < coalesce($3, '~') ORDER BY id DESC LIMIT ${Math.trunc(limit)}`,
    [...session.owner, before],
  )
}

/** `message` is null when only its deliveries were audited so far, or its own row was refused. */
export interface Timeline {
  readonly message: MessageColumns | null
  readonly deliveries: readonly DeliveryColumns[]
  readonly attempts: readonly AttemptColumns[]
  readonly callbacks: readonly CallbackColumns[]
  readonly actions: readonly ActionColumns[]
}

/** Everything about one message, in time order; null when nothing at all is known of it. */
export async function readTimeline(session: Session, id: string) {
  const parameters = [...session.owner, session.rules.key(id)]
  const from = (table: string) => `FROM ${session.table(table)}`
  const ofMessage = 'WHERE instancia = $1 AND proyecto = $2 AND mensaje_id = $3'
  const [kept] = await session.query<MessageColumnsAsKept>(
    `SELECT *, count(*) OVER ()::float8 AS veces ${from('mensaje')}
      WHERE instancia = $1 AND proyecto = $2 AND id = $3 ORDER BY recibido DESC LIMIT 1`,
    parameters,
  )
  const deliveries = await session.query<DeliveryColumns>(
    `SELECT listener, estado, intentos, proximo_intento, motivo, creado, actualizado
       ${from('entrega')} ${ofMessage} ORDER BY creado, listener`,
    parameters,
  )
  const attempts = await session.query<AttemptColumns>(
    `SELECT id, listener, numero, pedido, inicio, duracion_ms, fases, metodo, url, ip, pedido_cabeceras, http_estado,
            respuesta_cabeceras, respuesta_cuerpo, respuesta_truncada, error, error_detalle, resultado,
            proximo_intento, worker
       ${from('intento')} ${ofMessage} ORDER BY inicio, numero, pedido, id`,
    parameters,
  )
  const callbacks = await session.query<CallbackColumns>(
    `SELECT id, listener, tipo, destino, intento, resultado, detalle, fecha
       ${from('callback')} ${ofMessage} ORDER BY fecha, intento, id`,
    parameters,
  )
  // A schema of the version before has none.
  const [known] = await session.query<{ known: boolean }>('SELECT to_regclass($1) IS NOT NULL AS known', [
    session.table('accion'),
  ])
  const actions = known?.known
    ? await session.query<ActionColumns>(
        `SELECT e.listener, a.id, a.fecha, a.quien, a.equipo, a.orden ${from('entrega')} e
           JOIN ${session.table('accion')} a ON a.instancia = $1 AND a.proyecto = $2 AND a.id = e.accion
          WHERE e.instancia = $1 AND e.proyecto = $2 AND e.mensaje_id = $3 ORDER BY a.id, e.listener`,
        parameters,
      )
    : []
  const message = kept ? asSent(kept) : null
  const timeline: Timeline = { message, deliveries, attempts, callbacks, actions }
  return message || deliveries.length || attempts.length || callbacks.length ? timeline : null
}

/**
 * The same with what Postgres does not know yet. Pure.
 * @param known  null: Postgres knows nothing of it, or could not be asked
 * @param events of this message, in order, as they wait in the stream
 */
export function withPending(
  known: Timeline | null,
  events: readonly AuditEvent[],
  owner: Pick<MessageColumns, 'instancia' | 'proyecto'>,
): Timeline | null {
  if (events.length === 0) return known
  let message = known?.message ?? null
  const deliveries = new Map(known?.deliveries.map((delivery) => [delivery.listener, delivery]))
  const attempts = new Map(known?.attempts.map((attempt) => [`${attempt.id} ${attempt.pedido}`, attempt]))
  const callbacks = new Map(known?.callbacks.map((callback) => [`${callback.id} ${callback.intento}`, callback]))
  const actions = new Map(known?.actions.map((action) => [action.listener, action]))
  const told = new Map(events.flatMap((event) => (event.type === 'action' ? [[event.action.id, event] as const] : [])))
  for (const event of events) {
    switch (event.type) {
      case 'message':
        if (message === null || message.listeners === null || message.recibido.getTime() < event.receivedAt)
          message = pendingMessage(event, owner)
        for (const listener of event.listeners ?? []) {
          const before = deliveries.get(listener)
          if (before && before.creado.getTime() >= event.at) continue
          const state = { messageId: event.message.id, listener, state: 'pendiente', attempts: 0 } as const
          deliveries.set(
            listener,
            pendingDelivery({ ...state, nextAttemptAt: null, reason: null, action: null }, event.at, before),
          )
        }
        break
      case 'attempt':
        if (event.replaces !== null) attempts.delete(`${event.replaces} 1`)
        attempts.set(`${event.attempt.id} ${event.attempt.request}`, pendingAttempt(event))
        if (event.state) put(event.state, event.at)
        break
      case 'state':
        put(event.state, event.at)
        break
      case 'callback':
        callbacks.set(`${event.callback.id} ${event.callback.attempt}`, pendingCallback(event))
    }
  }
  function put(state: DeliveryState, at: number) {
    const action = told.get(state.action ?? '')
    if (action) actions.set(state.listener, pendingAction(state.listener, action))
    const before = deliveries.get(state.listener)
    if (!before || before.actualizado.getTime() <= at)
      deliveries.set(state.listener, pendingDelivery(state, at, before))
  }
  return {
    message,
    deliveries: [...deliveries.values()],
    attempts: [...attempts.values()].sort((a, b) => a.inicio.getTime() - b.inicio.getTime() || a.pedido - b.pedido),
    callbacks: [...callbacks.values()],
    actions: [...actions.values()],
  }
}

/** A message that Redis holds, as a timeline, where Postgres could not be asked. Pure. */
export function timelineOfHeld(
  { message, receivedAt }: { readonly message: Message; readonly receivedAt: number | null },
  held: readonly { readonly listener: string; readonly attempts: number; readonly dueAt: Date | null }[],
  keepBody: boolean,
  owner: Pick<MessageColumns, 'instancia' | 'proyecto'>,
): Timeline {
  const at = receivedAt ?? message.createdAt.getTime()
  const deliveries = held.map(({ listener, attempts, dueAt }) => {
    const state = dueAt === null ? 'pendiente' : 'reintentando'
    const nextAttemptAt = dueAt?.getTime() ?? null
    return pendingDelivery(
      { messageId: message.id, listener, state, attempts, nextAttemptAt, reason: null, action: null },
      at,
      undefined,
    )
  })
  const columns = pendingMessage({ type: 'message', message, receivedAt: at, listeners: null, keepBody, at }, owner)
  return { message: columns, deliveries, attempts: [], callbacks: [], actions: [] }
}

function pendingMessage(
  { message, receivedAt, listeners, keepBody }: MessageEvent,
  owner: Pick<MessageColumns, 'instancia' | 'proyecto'>,
): MessageColumns {
  return {
    ...owner,
    id: message.id,
    evento: message.event,
    metodo: message.method,
    ruta: message.path,
    cabeceras: message.headers,
    tipo_contenido: message.contentType,
    cuerpo: keepBody ? message.body : null,
    clave: message.key,
    origen: message.origin,
    listeners: listeners?.length ?? null,
    creado: message.createdAt,
    recibido: new Date(receivedAt),
    no_antes_de: message.notBefore,
    solo_listener: message.onlyListener,
    profundidad: message.depth,
  }
}

function pendingDelivery(
  { listener, state, attempts, nextAttemptAt, reason }: Omit<DeliveryState, 'version'>,
  at: number,
  before: DeliveryColumns | undefined,
): DeliveryColumns {
  return {
    listener,
    estado: state,
    intentos: attempts,
    proximo_intento: nextAttemptAt === null ? null : new Date(nextAttemptAt),
    motivo: reason,
    creado: before?.creado ?? new Date(at),
    actualizado: new Date(at),
  }
}

function pendingAttempt({ attempt }: AttemptEvent): AttemptColumns {
  return {
    id: attempt.id,
    listener: attempt.listener,
    numero: attempt.number,
    pedido: attempt.request,
    inicio: new Date(attempt.startedAt),
    duracion_ms: attempt.durationMs,
    fases: parsed(attempt.phases),
    metodo: attempt.method,
    url: attempt.url,
    ip: attempt.ip,
    pedido_cabeceras: JSON.parse(attempt.requestHeaders),
    http_estado: attempt.status,
    respuesta_cabeceras: parsed(attempt.responseHeaders),
    respuesta_cuerpo: attempt.responseBody,
    respuesta_truncada: attempt.responseTruncated,
    error: attempt.error,
    error_detalle: attempt.errorDetail,
    resultado: attempt.result,
    proximo_intento: attempt.nextAttemptAt === null ? null : new Date(attempt.nextAttemptAt),
    worker: attempt.worker,
  }
}

function parsed<T>(text: JsonText | null): T | null {
  return text === null ? null : JSON.parse(text)
}

function pendingCallback({ callback, at }: CallbackEvent): CallbackColumns {
  return {
    id: callback.id,
    listener: callback.listener,
    tipo: callback.type,
    destino: callback.target,
    intento: callback.attempt,
    resultado: callback.result,
    detalle: callback.detail,
    fecha: new Date(at),
  }
}

function pendingAction(listener: string, { action, at }: ActionEvent): ActionColumns {
  return { listener, id: action.id, fecha: new Date(at), quien: action.who, equipo: action.host, orden: action.order }
}

/**
 * The newest attempt of a listener: its last request, and what all of its requests took together, as the figures of `auditoria` and
 * the summaries have it (a challenge, a token, a redirection are requests of their own). Pure.
 * @param attempts oldest first
 */
export function newestAttempt(
  attempts: readonly AttemptColumns[],
  listener: string,
): { readonly last: AttemptColumns; readonly took: Millis } | null {
  const last = attempts.findLast((attempt) => attempt.listener === listener)
  if (!last) return null
  const requests = attempts.filter(({ id, listener: its }) => id === last.id && its === listener)
  return { last, took: requests.reduce((sum, { duracion_ms }) => sum + duracion_ms, 0) }
}

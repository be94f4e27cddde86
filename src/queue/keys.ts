/**
 * Every key and channel in Redis. Nothing else spells one.
 *
 * All of a project's keys share one hash tag, so that in a Redis Cluster they live in one slot and every script may
 * touch them together.
 */

/** What each key is called, and what it is where it is there at all. */
export type Table = Readonly<
  Record<string, readonly [name: string, kind: 'string' | 'list' | 'set' | 'zset' | 'hash' | 'stream']>
>

export const SHARED_KEYS = {
  /** Envelopes: the public door, `LPUSH`ed by anyone, taken from the right. */
  inbox: ['entrada', 'list'],
  /** Entries that could not be understood, whole. */
  inboxInvalid: ['entrada_invalida', 'list'],
  /** The envelopes that a worker of the version before dispatches right now, oldest on the left. */
  dispatching: ['despacho', 'list'],
  /** fence, until, takes, single, count: the lease on the oldest envelopes of `inbox`. */
  dispatchLease: ['despacho_arriendo', 'hash'],
  /** `id 0x1F listener 0x1F listener…`: who is still to get the message with very many listeners that is being dispatched. */
  fanOut: ['reparto', 'list'],
  /** id → due, ms: messages with `demora`. */
  delayed: ['demoradas', 'zset'],
  /** id → deliveries left, only where there were more than one. */
  remaining: ['restan', 'hash'],
  /** Listener names that ever had a delivery. */
  listeners: ['listeners', 'set'],
  /** Counter of fencing numbers. */
  fence: ['valla', 'string'],
  /** fence → end of its leases, ms: claims that nobody has said to have arrived. */
  notBegun: ['sin_comenzar', 'zset'],
  /** listener → `until reason`; until 0 = for good. */
  paused: ['pausas', 'hash'],
  /** `listener~id` of callbacks whose listener has its share of the callback lane in use. */
  callbacksAside: ['callbacks_apartados', 'zset'],
  /** Audit events. */
  audit: ['eventos', 'stream'],
  /** Those of workers of 0.1.0: read, and nothing else is told there, as they throw away what they do not understand. */
  auditBefore: ['auditoria', 'stream'],
  /** id of a stretch's last entry → `after|until|reader`: what of each stream is being written into the backend. */
  auditStretches: ['eventos_tramos', 'hash'],
  auditBeforeStretches: ['auditoria_tramos', 'hash'],
  /** worker → its last sign of life (JSON). */
  workers: ['workers', 'hash'],
  /** listener → what is remembered of it (JSON): newest success, newest failure and since when, its breaker's cause. */
  situation: ['situacion', 'hash'],
  /** Since when Redis holds all that it should (JSON); made by workers, gone where Redis lost its data. */
  continuity: ['continuidad', 'string'],
  /** Who holds the maintenance lock (JSON), with a life of its own: `recuperar`, `reenviar` and `descartar` take turns. */
  maintenance: ['mantenimiento', 'string'],
  /** Which worker did the last night's purge, for less than a day. */
  purge: ['purga', 'string'],
  /** When the last purge of the audit ended well, ms since epoch. */
  purged: ['purga_hecha', 'string'],
  /** Hash of a session's id → who it is (JSON), of the panel. */
  sessions: ['panel_sesiones', 'hash'],
  /** Hash of a session's id → when it was last used, ms. */
  sessionsSeen: ['panel_vistas', 'zset'],
} as const satisfies Table

/** A listener's, in the order in which the scripts take them. */
export const LANE_KEYS = {
  /** Delivery ids that wait, next one on the left. */
  queue: ['cola', 'list'],
  /** id → lease end, ms. */
  inFlight: ['en_curso', 'zset'],
  /** id → `made:number:expiries:version:fence`, only for deliveries that were claimed at least once. */
  deliveries: ['entregas', 'hash'],
  /** id → due, ms. */
  retries: ['reintentos', 'zset'],
  /** id → when, ms. */
  failed: ['fallidas', 'zset'],
  /** The circuit breaker. */
  breaker: ['corte', 'hash'],
  /** The token bucket of `limite`. */
  rate: ['limite', 'hash'],
  /** The head of `queue`, only while `descartar` walks through it (or was cut short). */
  front: ['cola_frente', 'list'],
} as const satisfies Table

export type Names<Rows extends Table> = { readonly [Key in keyof Rows]: string }

export type LaneKeys = Names<typeof LANE_KEYS>

export interface Keys extends Names<typeof SHARED_KEYS> {
  /** Channel: there is something to do (a hint). */
  readonly wake: string
  /** `mensaje:<id>`: the envelope, once a message. */
  readonly messagePrefix: string
  /** `clave:<key>` → id, for 24 h. */
  readonly dedupePrefix: string
  lane(listener: string): LaneKeys
}

/** The lane that runs callbacks; no listener may be called so. */
export const CALLBACK_LANE = '@callbacks'

/** A callback's id for the world outside of Redis: `message~listener~version`. */
export function callbackName(id: string): string {
  return id.replace(/^callback /, '')
}

export function keysOf(instancia: string, proyecto: string): Keys {
  const prefix = `resthooks:{${instancia}:${proyecto}}:`
  return {
    ...named(SHARED_KEYS, (name) => prefix + name),
    wake: `${prefix}aviso`,
    messagePrefix: `${prefix}mensaje:`,
    dedupePrefix: `${prefix}clave:`,
    lane: (listener) => named(LANE_KEYS, (name) => `${prefix}${name}:${listener}`),
  }
}

/** Every project's `wake`, as PUBSUB CHANNELS takes it. */
export const WAKE_CHANNELS = 'resthooks:{*}:aviso'

/** Whose channel it is; null: nobody's of ours. */
export function projectOfWake(channel: string): { readonly instancia: string; readonly proyecto: string } | null {
  const [, instancia, proyecto] = /^resthooks:\{([^:{}]+):([^:{}]+)\}:aviso$/.exec(channel) ?? []
  return instancia && proyecto ? { instancia, proyecto } : null
}

function named<Rows extends Table>(rows: Rows, spell: (name: string) => string): Names<Rows> {
  return Object.fromEntries(Object.entries(rows).map(([key, [name]]) => [key, spell(name)])) as Names<Rows>
}

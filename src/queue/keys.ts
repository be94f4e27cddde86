/**
 * Every key and channel in Redis. Nothing else spells one.
 *
 * All of a project's keys share one hash tag, so that in a Redis Cluster they live in one slot and every script may
 * touch them together.
 */
export interface LaneKeys {
  /** LIST of delivery ids that wait, next one on the left. */
  readonly queue: string
  /** ZSET id → lease end, ms. */
  readonly inFlight: string
  /** HASH id → `made:number:expiries:version:fence`, only for deliveries that were claimed at least once. */
  readonly deliveries: string
  /** ZSET id → due, ms. */
  readonly retries: string
  /** ZSET id → when, ms. */
  readonly failed: string
  /** HASH: the circuit breaker. */
  readonly breaker: string
  /** HASH: the token bucket of `limite`. */
  readonly rate: string
  /** LIST: the head of `queue`, only while `descartar` walks through it (or was cut short). */
  readonly front: string
}

export interface Keys {
  /** LIST of envelopes: the public door, `LPUSH`ed by anyone, taken from the right. */
  readonly inbox: string
  /** LIST of entries that could not be understood, whole. */
  readonly inboxInvalid: string
  /** LIST: the envelopes that a worker of the version before dispatches right now, oldest on the left. */
  readonly dispatching: string
  /** HASH fence, until, takes, single, count: the lease on the oldest envelopes of `inbox`. */
  readonly dispatchLease: string
  /** LIST `id 0x1F listener 0x1F listener…`: who is still to get the message with very many listeners that is being dispatched. */
  readonly fanOut: string
  /** ZSET id → due, ms: messages with `demora`. */
  readonly delayed: string
  /** HASH id → deliveries left, only where there were more than one. */
  readonly remaining: string
  /** SET of listener names that ever had a delivery. */
  readonly listeners: string
  /** Counter of fencing numbers. */
  readonly fence: string
  /** ZSET fence → end of its leases, ms: claims that nobody has said to have arrived. */
  readonly notBegun: string
  /** HASH listener → `until reason`; until 0 = for good. */
  readonly paused: string
  /** STREAM of audit events. */
  readonly audit: string
  /**
   * The one that workers of 0.1.0 write into: it is read, and nothing else is told there, as they throw away what they do not
   * understand.
   */
  readonly auditBefore: string
  /** HASH id of a stretch's last entry → `after|until|reader`: what of each stream is being written into the backend. */
  readonly auditStretches: string
  readonly auditBeforeStretches: string
  /** HASH worker → its last sign of life (JSON). */
  readonly workers: string
  /** HASH listener → what is remembered of it (JSON): newest success, newest failure and since when, its breaker's cause. */
  readonly situation: string
  /** STRING (JSON): since when Redis holds all that it should; made by workers, gone where Redis lost its data. */
  readonly continuity: string
  /** Who holds the maintenance lock (JSON), with a life of its own: `recuperar`, `reenviar` and `descartar` take turns. */
  readonly maintenance: string
  /** Which worker did the last night's purge, for less than a day. */
  readonly purge: string
  /** When the last purge of the audit ended well, ms since epoch. */
  readonly purged: string
  /** HASH hash of a session's id → who it is (JSON), of the panel. */
  readonly sessions: string
  /** ZSET hash of a session's id → when it was last used, ms. */
  readonly sessionsSeen: string
  /** Channel: there is something to do (a hint). */
  readonly wake: string
  /** ZSET of callbacks whose listener has its share of the callback lane in use: `listener~id`. */
  readonly callbacksAside: string
  /** `mensaje:<id>`: the envelope, once a message. */
  readonly messagePrefix: string
  /** `clave:<key>` → id, for 24 h. */
  readonly dedupePrefix: string
  lane(listener: string): LaneKeys
}

type Kind = 'string' | 'list' | 'set' | 'zset' | 'hash' | 'stream'

/** What each key is, where it is there at all. */
export const SHARED_KINDS = {
  inbox: 'list',
  inboxInvalid: 'list',
  dispatching: 'list',
  dispatchLease: 'hash',
  fanOut: 'list',
  delayed: 'zset',
  remaining: 'hash',
  listeners: 'set',
  fence: 'string',
  notBegun: 'zset',
  paused: 'hash',
  callbacksAside: 'zset',
  audit: 'stream',
  auditBefore: 'stream',
  auditStretches: 'hash',
  auditBeforeStretches: 'hash',
  workers: 'hash',
  situation: 'hash',
  continuity: 'string',
  maintenance: 'string',
  purge: 'string',
  purged: 'string',
  sessions: 'hash',
  sessionsSeen: 'zset',
} as const satisfies Partial<Record<keyof Keys, Kind>>

export const LANE_KINDS: Readonly<Record<keyof LaneKeys, Kind>> = {
  queue: 'list',
  inFlight: 'zset',
  deliveries: 'hash',
  retries: 'zset',
  failed: 'zset',
  breaker: 'hash',
  rate: 'hash',
  front: 'list',
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
    inbox: `${prefix}entrada`,
    inboxInvalid: `${prefix}entrada_invalida`,
    dispatching: `${prefix}despacho`,
    dispatchLease: `${prefix}despacho_arriendo`,
    fanOut: `${prefix}reparto`,
    delayed: `${prefix}demoradas`,
    remaining: `${prefix}restan`,
    listeners: `${prefix}listeners`,
    fence: `${prefix}valla`,
    notBegun: `${prefix}sin_comenzar`,
    paused: `${prefix}pausas`,
    audit: `${prefix}eventos`,
    auditBefore: `${prefix}auditoria`,
    auditStretches: `${prefix}eventos_tramos`,
    auditBeforeStretches: `${prefix}auditoria_tramos`,
    workers: `${prefix}workers`,
    situation: `${prefix}situacion`,
    continuity: `${prefix}continuidad`,
    maintenance: `${prefix}mantenimiento`,
    purge: `${prefix}purga`,
    purged: `${prefix}purga_hecha`,
    sessions: `${prefix}panel_sesiones`,
    sessionsSeen: `${prefix}panel_vistas`,
    wake: `${prefix}aviso`,
    callbacksAside: `${prefix}callbacks_apartados`,
    messagePrefix: `${prefix}mensaje:`,
    dedupePrefix: `${prefix}clave:`,
    lane: (listener) => ({
      queue: `${prefix}cola:${listener}`,
      inFlight: `${prefix}en_curso:${listener}`,
      deliveries: `${prefix}entregas:${listener}`,
      retries: `${prefix}reintentos:${listener}`,
      failed: `${prefix}fallidas:${listener}`,
      breaker: `${prefix}corte:${listener}`,
      rate: `${prefix}limite:${listener}`,
      front: `${prefix}cola_frente:${listener}`,
    }),
  }
}

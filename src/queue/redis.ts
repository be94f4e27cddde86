/**
 * The connection to Redis, and the one place that tells what an error of Redis or of its client means.
 *
 * Two temperaments: a command line tool gives up at once (exit 4, try again later), a daemon comes back by itself.
 */

import net from 'node:net'
import tls from 'node:tls'
import { Redis, type RedisOptions } from 'ioredis'
import type { RedisConfig } from '../config/config.ts'
import { ConfigError, OperationFailed, type ResthooksError, TLS_REASONS, Unavailable } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { duration } from '../model/words.ts'

/** How long a connection may take, and an answer of the daemon's connection. */
const CONNECT_TIMEOUT: Millis = 5_000
const COMMAND_TIMEOUT: Millis = 15_000
/** How long the daemon waits for any byte of an answer before it takes the connection for dead. */
export const SILENCE_TIMEOUT: Millis = 5_000
/** One Sentinel that is hung must not keep anybody from asking the next. */
const SENTINEL_TIMEOUT: Millis = 2_000

/** How long a command line tool waits for a server that accepts connections and does not answer. */
export interface Patience {
  readonly connect: Millis
  /** For the first answer, to a question that changes nothing. */
  readonly answer: Millis
  /** Without any byte of an answer, later. */
  readonly silence: Millis
}

/** A person looks, and wants to know what is wrong. */
export const LOOKING: Patience = { connect: 4_000, answer: 3_000, silence: 4_000 }
/** A program hands a message over, and may have nobody who tries again: a server that stalls for seconds may still take it. */
export const SENDING: Patience = { connect: CONNECT_TIMEOUT, answer: COMMAND_TIMEOUT, silence: COMMAND_TIMEOUT }

/**
 * A connected client that fails at the first trouble. The server has answered a question by then: where it is hung, nothing was
 * asked of it that it might do once it goes on.
 * @throws Unavailable, or ConfigError for a wrong password
 */
export async function connectOnce(
  config: RedisConfig,
  { connect, answer, silence }: Patience = LOOKING,
): Promise<Redis> {
  const redis = new Redis({
    ...optionsOf(config),
    connectTimeout: config.sentinels.length > 0 ? SENTINEL_TIMEOUT : connect,
    lazyConnect: true,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
    // The client waits this long for the end of a connection, also of one that never was or is gone: a failed command took 2 s.
    disconnectTimeout: 50,
    commandTimeout: answer,
  })
  // The cause arrives here, and `connect()` then only says that the connection was closed.
  redis.on('error', (error) => causes.set(redis, error))
  try {
    await redis.connect()
    if (causes.has(redis)) throw causes.get(redis)
    await firstAnswer(redis, answer)
    Object.assign(redis.options, { commandTimeout: COMMAND_TIMEOUT, socketTimeout: silence })
    return redis
  } catch (error) {
    redis.disconnect()
    throw await explainRedis(causes.get(redis) ?? error, config)
  }
}

/** Whatever it is: what a password or a disk is refused for, the command that follows is told in its own words. */
async function firstAnswer(redis: Redis, patience: Millis): Promise<void> {
  try {
    await redis.ping()
  } catch (error) {
    const { name, message } = error as Error
    if (name === 'ReplyError') return
    if (/timed out/.test(message)) throw new HungServer(patience)
    throw error
  }
}

/** It accepts connections and does not answer. */
class HungServer extends Error {
  readonly patience: Millis
  constructor(patience: Millis) {
    super('timed out')
    this.patience = patience
  }
}

/**
 * A client that connects again for ever, twice a second at most. Commands fail at once while it is away: whoever calls
 * decides what to do about it.
 * @param silence of a server that owes an answer, after which the connection is taken for dead and made anew
 */
export function connectForever(config: RedisConfig, label: string, silence: Millis = SILENCE_TIMEOUT): Redis {
  const redis = new Redis({
    ...optionsOf(config),
    connectionName: `resthooks-${label}`,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Whoever subscribes does it again at each `ready`: the client's own SUBSCRIBE, when it fails, is an unhandled
    // rejection that ends the process.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: reconnectDelay,
    sentinelRetryStrategy: reconnectDelay,
    // After a failover the old master answers READONLY: connect again, to whoever is the master now.
    reconnectOnError: (error) => (/^READONLY/.test(error.message) ? 1 : false),
    commandTimeout: COMMAND_TIMEOUT,
    // What was forgotten on the way answers nothing and never ends by itself: another connection may work.
    socketTimeout: silence,
  })
  // Whoever uses it reports the outage once; an event for each failed connection would fill the log.
  redis.on('error', (error) => causes.set(redis, error)).on('ready', () => causes.delete(redis))
  return redis
}

/** @throws whatever Redis or its client answers instead */
export async function ping(redis: Redis): Promise<void> {
  await redis.ping()
}

/**
 * Hears what is published, also after the connection was away.
 * @param begun called each time: what was announced before was heard by nobody
 */
export function listen(subscriber: Redis, channel: string, heard: (text: string) => void, begun: () => void): void {
  const subscribe = () => {
    subscriber.subscribe(channel).catch(() => {})
    begun()
  }
  subscriber.on('message', (_channel, text) => heard(text))
  if (subscriber.status === 'ready') subscribe()
  subscriber.on('ready', subscribe)
}

/** What a server says about itself. */
export interface ServerFacts {
  readonly info: string
  /** `appendfsync`; null where CONFIG is not allowed. */
  readonly fsync: string | null
  /** Its clock less this machine's, ms. */
  readonly skew: number
  /** It was given a password, and asks nobody for one. */
  readonly open: boolean
}

export async function readServer(redis: Redis): Promise<ServerFacts> {
  const [skew, info, fsync, open] = await Promise.all([
    readSkew(redis),
    redis.info(),
    redis.config('GET', 'appendfsync').then(
      (answer) => (answer as string[])[1] ?? null,
      () => null,
    ),
    asksNobody(redis),
  ])
  return { info, fsync, skew, open }
}

/** The client takes that answer to its own AUTH for a success, so it is asked again. */
async function asksNobody(redis: Redis): Promise<boolean> {
  const { username, password } = redis.options
  if (!password || username) return false
  return redis.auth(password).then(
    () => false,
    (error: Error) => /no password is set|without any password configured/.test(error.message),
  )
}

async function readSkew(redis: Redis): Promise<number> {
  const before = Date.now()
  const [seconds, micros] = await redis.time()
  return Number(seconds) * 1000 + Number(micros) / 1000 - (before + Date.now()) / 2
}

/** Why a connection is away: its commands say no more than that it is. */
const causes = new WeakMap<Redis, Error>()

/** What a command's error means where its connection is away: what ended the last try to have one again. */
export function causeOf(error: unknown, redis: Redis): unknown {
  const { message = '' } = error as Error
  return /Connection is closed|Stream isn't writeable|max retries/i.test(message) ? (causes.get(redis) ?? error) : error
}

/**
 * Other credentials or another place for a connection of `connectForever`. Under other credentials the connection goes on as it
 * is, and the next one uses them; to another place it goes at once, and what is under way fails as when a connection is lost.
 * @returns false: one server in place of Sentinels, or the other way round, takes a new client
 */
export function reconnectWith(redis: Redis, before: RedisConfig, config: RedisConfig): boolean {
  if ((before.sentinels.length === 0) !== (config.sentinels.length === 0)) return false
  const nothing = { username: undefined, password: undefined, tls: undefined, sentinelTLS: undefined }
  Object.assign(redis.options, nothing, optionsOf(config))
  const { username: _u, password: _p, ...place } = config
  const { username: _v, password: _q, ...placeBefore } = before
  if (JSON.stringify(place) !== JSON.stringify(placeBefore)) redis.disconnect(true)
  return true
}

/** ms before a connection is tried again. @param times it was tried before */
function reconnectDelay(times: number): Millis {
  return Math.round(Math.min(50 * 2 ** Math.min(times, 6), 500) * (0.75 + Math.random() / 2))
}

type Options = RedisOptions & { readonly replyMapping?: 'legacy' }

function optionsOf(config: RedisConfig): Options {
  const tls = config.tls ? { tls: config.ca ? { ca: config.ca } : {} } : {}
  const common: Options = {
    ...(config.username ? { username: config.username } : {}),
    ...(config.password ? { password: config.password } : {}),
    db: config.db,
    connectTimeout: CONNECT_TIMEOUT,
    keepAlive: 10_000,
    protocol: 2,
    disableClientInfo: true,
    ...tls,
  }
  if (config.sentinels.length === 0) return { ...common, host: config.host, port: config.port }
  return {
    ...common,
    sentinels: config.sentinels.map(({ host, port }) => ({ host, port })),
    sentinelCommandTimeout: SENTINEL_TIMEOUT,
    name: config.sentinelMaster ?? 'mymaster',
    ...(config.tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls.tls } : {}),
  }
}

/** Where Redis is, for messages. */
export function redisPlace(config: RedisConfig): string {
  if (config.sentinels.length === 0) return `${config.host}:${config.port}`
  return `${config.sentinelMaster} (Sentinel ${config.sentinels.map(({ host, port }) => `${host}:${port}`).join(', ')})`
}

/** What went wrong with Redis, for a person: ConfigError where only a change of settings helps, else Unavailable. */
export function redisTrouble(error: unknown, config: RedisConfig): ResthooksError {
  if (error instanceof ConfigError || error instanceof Unavailable || error instanceof OperationFailed) return error
  const cause = error as Error & { code?: string; lastNodeError?: Error }
  const text = [cause?.message, cause?.lastNodeError?.message].filter(Boolean).join(': ')
  const where = redisPlace(config)
  const say = (message: string) => new Unavailable(`Redis (${where}): ${message}`, { cause })
  const config_ = (message: string) => new ConfigError(`Redis (${where}): ${message}`, { cause })

  if (/NOAUTH|HELLO must be called with the client already authenticated/.test(text)) {
    return config_('pide clave y no hay ninguna; defina REST_HOOKS_REDIS_PASSWORD en instalador.env')
  }
  if (/WRONGPASS|invalid password|invalid username-password/i.test(text)) {
    return config_('rechaza el usuario o la clave; revise REST_HOOKS_REDIS_USERNAME y REST_HOOKS_REDIS_PASSWORD')
  }
  if (FORBIDDEN.test(text)) return config_(forbiddenText(cause, config.username ?? 'default'))
  if (/DB index is out of range/.test(text))
    return config_(`la base ${config.db} no existe; revise REST_HOOKS_REDIS_DB`)
  if (/^WRONGTYPE/.test(cause?.message ?? '')) return say(mistypedText(cause))
  if (/^OOM/.test(text)) return say('no tiene memoria libre (maxmemory); libere o amplíe memoria y repita')
  if (/^READONLY/.test(text))
    return say('es una réplica de sólo lectura; si hubo un cambio de maestro, repita en unos segundos')
  if (/^LOADING/.test(text)) return say('está cargando sus datos; repita en unos segundos')
  if (/^MASTERDOWN/.test(text)) return say('es una réplica sin maestro; repita cuando vuelva')
  if (/^(MISCONF|NOREPLICAS)/.test(text)) return say(`no acepta escrituras: ${text}`)
  if (/All sentinels are unreachable/.test(text)) return say(`ningún Sentinel respondió: ${text}`)
  switch (cause?.code) {
    case 'ECONNREFUSED':
      return say('rechaza la conexión; compruebe que esté en marcha (redis-cli ping) y REST_HOOKS_REDIS_HOST/_PORT')
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return say('el nombre no se resuelve; revise REST_HOOKS_REDIS_HOST y el DNS')
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return say('no responde; revise red y cortafuegos')
  }
  if (cause instanceof HungServer)
    return say(
      `acepta la conexión y no contesta (${duration(cause.patience)}): está detenido u ocupado, o a su máquina le falta memoria o ` +
        'disco; compruébelo con redis-cli ping',
    )
  if (/timed out|Socket timeout|ETIMEDOUT/i.test(text)) return say('no respondió a tiempo')
  if (/wrong version number|packet length too long/.test(text))
    return config_('lo que atiende ahí no habla TLS; revise REST_HOOKS_REDIS_HOST/_PORT y _TLS')
  if (/certificate|self.signed|TLS|SSL/i.test(text))
    return config_(`falla TLS: ${TLS_REASONS[cause?.code ?? ''] ?? text}; revise REST_HOOKS_REDIS_TLS y _CA`)
  if (NOT_REDIS.test(text))
    return config_('lo que atiende ahí no habla el protocolo de Redis; revise REST_HOOKS_REDIS_HOST/_PORT y _TLS')
  return say(text === '' || CONNECTION_LOST.test(text) ? 'se cortó la conexión' : text)
}

/**
 * The same for whoever can wait a moment: TLS spoken to a server without it, or the other way round, is told by the client as a
 * connection that closes or hangs, so it is tried.
 */
export async function explainRedis(error: unknown, config: RedisConfig): Promise<ResthooksError> {
  const trouble = redisTrouble(error, config)
  const { name, message = '', code = '' } = error as Error & { code?: string }
  const isProtocol =
    NOT_REDIS.test(message) || /TLS|SSL/.test(message) || /SSL|TLS|^(ETIMEDOUT|ECONNRESET|EPROTO)$/.test(code)
  if (name === 'ReplyError' || config.sentinels.length > 0 || !(isProtocol || CONNECTION_LOST.test(message)))
    return trouble
  const { host, port } = config
  const say = (text: string) => new ConfigError(`Redis (${redisPlace(config)}): ${text}`, { cause: error })
  if (config.tls) {
    if (!(await answers(net.connect({ host, port }), 'connect', 'PING\r\n'))) return trouble
    return say('no habla TLS, y se le habló con TLS; quite REST_HOOKS_REDIS_TLS (o ponga 0)')
  }
  if (!(await answers(tls.connect({ host, port, rejectUnauthorized: false }), 'secureConnect', null))) return trouble
  return say(
    'habla TLS, y se le habló sin TLS; ponga REST_HOOKS_REDIS_TLS=1 (y REST_HOOKS_REDIS_CA si su autoridad es propia)',
  )
}

/** Whether a server gets as far as `event`, and then answers a question as Redis does. */
function answers(socket: net.Socket, event: 'connect' | 'secureConnect', question: string | null): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (does: boolean) => {
      resolve(does)
      socket.destroy()
    }
    socket.setTimeout(1_000, () => end(false))
    socket.once('error', () => end(false))
    socket.once('close', () => end(false))
    socket.once(event, () => {
      if (question === null) end(true)
      else socket.write(question)
    })
    socket.once('data', (bytes) => end(/^[+-]/.test(String(bytes))))
  })
}

/** What the client says of an answer that is none. */
const NOT_REDIS = /Unknown RESP type|Protocol error/
/** And of a connection that is gone. */
const CONNECTION_LOST =
  /Connection is closed|Stream isn't writeable|timed out|Socket timeout|max retries|Connection lost|All sentinels|ended by the other/i

/** Whether Redis or its client made this error. */
export function isRedisError(error: unknown): boolean {
  const { name, message = '' } = error as Error
  return name === 'ReplyError' || NOT_REDIS.test(message) || CONNECTION_LOST.test(message)
}

/** The command may have been carried out although it failed: it was on its way, and Redis did not refuse it. */
export function mayHaveHappened(error: unknown): boolean {
  const { name, message = '' } = error as Error
  return name !== 'ReplyError' && !/Stream isn't writeable/.test(message)
}

/** What a key of another type holds is nobody's: `estado` and `verificar` tell of it. */
export function orMistyped<T>(answer: Promise<T>, nothing: T): Promise<T> {
  return unless(/^WRONGTYPE/, answer, nothing)
}

/** Null where the user of this connection may not ask. */
export function orForbidden<T>(answer: Promise<T>): Promise<T | null> {
  return unless<T | null>(/^NOPERM|unknown command/, answer, null)
}

function unless<T>(refusal: RegExp, answer: Promise<T>, otherwise: T): Promise<T> {
  return answer.catch((error: Error) => {
    if (refusal.test(error.message)) return otherwise
    throw error
  })
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'texto',
  list: 'lista',
  set: 'conjunto',
  zset: 'conjunto ordenado',
  hash: 'hash',
  stream: 'flujo',
}

/** A key that somebody made something else of: which one, and how to repair it. @param error of a script, or of a command */
export function mistypedText(error: {
  readonly message: string
  readonly command?: { readonly args: readonly unknown[] }
}) {
  const [, key = String(error.command?.args[0] ?? '?'), is, must] =
    /^WRONGTYPE (resthooks:.+) (\w+) (\w+)$/.exec(error.message) ?? []
  const named = (type: string) => TYPES[type] ?? type
  const kind = is && must ? `es de tipo ${named(is)} y debe ser ${named(must)}` : 'no es del tipo que debe'
  return `la clave ${key} ${kind}: la escribió otro programa. Bórrela (redis-cli DEL '${key}') y ejecute «${typed('recuperar')}»`
}

/** What the access list of Redis (ACL) keeps from a user; a script says it in words of its own. */
const FORBIDDEN = /NOPERM|The user executing the script can't|ACL failure in script/

/** What the user may not do, and the rule that lets him. */
function forbiddenText(
  { message, command }: Error & { readonly command?: { readonly name: string; readonly args: readonly unknown[] } },
  user: string,
): string {
  const asked = command === undefined ? '' : ` (al hacer ${command.name.toUpperCase()})`
  const name = /run the '([^']+)' command/.exec(message)?.[1]
  const prefix = /resthooks:\{[^{}]*\}:/.exec([message, ...(command?.args ?? [])].join(' '))?.[0]
  const keys = `${prefix ?? 'resthooks:{INSTANCIA:PROYECTO}:'}*`
  const [what, rule] =
    name !== undefined
      ? [`no puede usar la orden ${name.toUpperCase()}`, `+${name}`]
      : /channel/.test(message)
        ? [`no puede usar ese canal${asked}`, `'&${keys}'`]
        : /key/.test(message)
          ? [`no puede usar esa clave${asked}`, `'~${keys}'`]
          : [`no puede usar una orden que un script necesita${asked}`, '+@all -@dangerous +info']
  return `el usuario «${user}» ${what}. Que un administrador ejecute: ACL SETUSER ${user} ${rule} (todo lo que hace falta: docs/seguridad.md)`
}

/** True for an error of the connection or of the server's condition, that passes by itself. */
export function isRedisOutage(error: unknown): boolean {
  const { message = '', code } = error as Error & { code?: string }
  if (code && /^(E[A-Z]+|UND_|CERT)/.test(code)) return true
  return (
    /^(READONLY|LOADING|OOM|MASTERDOWN|MISCONF|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|BUSY|NOAUTH|WRONGPASS|UNKILLABLE|WRONGTYPE)/.test(
      message,
    ) ||
    FORBIDDEN.test(message) ||
    CONNECTION_LOST.test(message)
  )
}

/**
 * The configuration as the rest of the program sees it: immutable, complete, every value of its final type.
 *
 * How it is found, read, merged and validated is told by the neighbours of this file.
 */
import type { Bytes, Millis } from '../model/message.ts'
import type { Secrets } from '../model/secrets.ts'

export interface Config {
  readonly instancia: string
  readonly proyecto: string
  /** `resthooks_activo`: when false nothing is enqueued or delivered. */
  readonly active: boolean
  readonly files: ConfigFiles
  readonly redis: RedisConfig
  readonly audit: AuditConfig
  readonly workers: WorkersConfig
  /** The unnamed `[reintentos]`; callbacks use it too. */
  readonly defaultStrategy: RetryStrategy
  /** By name, in the order of the file; inactive ones included. */
  readonly listeners: ReadonlyMap<string, ListenerConfig>
  /** Where each value came from, keyed `section.key` (`redis_config.host`), for `verificar`. */
  readonly origins: ReadonlyMap<string, Source>
  /** Every secret of the files, by value: nothing is written or shown that did not pass them. */
  readonly secrets: Secrets
  /** Accepted, but worth telling: a setting without effect, a file readable by others that holds a secret. */
  readonly warnings: readonly string[]
}

export interface ConfigFiles {
  /** Absolute path, or null when none was found. */
  readonly ini: string | null
  readonly env: string | null
  /** How many variables `env` defines. */
  readonly variables: number
  /** Every file that was read (cliente.ini, certificates…): a change of one means a reload. */
  readonly watched: readonly string[]
}

export type Origin =
  | { readonly kind: 'environment'; readonly variable: string }
  | { readonly kind: 'env-file'; readonly file: string; readonly variable: string }
  | { readonly kind: 'ini'; readonly file: string; readonly line: number | null }
  | { readonly kind: 'default' }

/** Where a value came from, and how it is written there (`${VAR}` not replaced; null for a default). */
export type Source = Origin & { readonly written: string | null }

export interface RedisConfig {
  readonly host: string
  readonly port: number
  readonly username: string | null
  readonly password: string | null
  readonly db: number
  readonly tls: boolean
  /** PEM text of the CA, already read. */
  readonly ca: string | null
  /** Empty: a standalone server. */
  readonly sentinels: readonly { readonly host: string; readonly port: number }[]
  readonly sentinelMaster: string | null
}

export interface AuditConfig {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string | null
  readonly sslmode: 'disable' | 'allow' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'
  readonly schema: string
  /** Rows waiting for Postgres before deliveries stop; 0 = never stop. */
  readonly maxPending: number
  /** The same in bytes of Redis; 0 = half of `maxmemory` where there is one. */
  readonly maxPendingBytes: Bytes
  /** What `purgar` keeps; 0 = everything. */
  readonly retention: Millis
}

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

export interface WorkersConfig {
  /** HTTP requests in flight per process. */
  readonly concurrency: number
  readonly processes: number
  /** On SIGTERM, how long running deliveries may finish. */
  readonly drain: Millis
  /** Longest wait before due retries and new messages are looked for. */
  readonly poll: Millis
  /** How long a claimed delivery stays its worker's without a renewal (`arriendo`, 30s). */
  readonly lease: Millis
  /** Where /metrics and /salud listen; null = off. */
  readonly metrics: { readonly host: string; readonly port: number } | null
  /** Of the log: what is less grave is not written. */
  readonly level: LogLevel
  /** An envelope of more is refused by `send`, and set aside where another program enqueued it. */
  readonly maxMessage: Bytes
}

export type RetryStrategy = {
  readonly name: string /** 0..1 */
  readonly jitter: number /** 0 = never */
  readonly expiry: Millis
} & (
  | { readonly kind: 'lista'; readonly delays: readonly Millis[] }
  | {
      readonly kind: 'exponencial'
      readonly first: Millis
      readonly factor: number
      readonly max: Millis
      readonly attempts: number
    }
  | { readonly kind: 'lineal'; readonly first: Millis; readonly max: Millis; readonly attempts: number }
  | { readonly kind: 'fija'; readonly first: Millis; readonly attempts: number }
)

export interface ListenerConfig {
  readonly name: string
  readonly active: boolean
  /** Patterns; `*` matches any run of characters. */
  readonly events: readonly string[]
  /** Absolute base URL: of `url`, of the client or of the service, `version` already applied. */
  readonly url: string
  /** Template (`proveedores/{datos.id}`), '' = the base URL itself. */
  readonly path: string
  readonly method: string
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** In lower case: those of `headers` that a message may replace. */
  readonly replaceableHeaders: readonly string[]
  /** Overrides the message's own; null = the message's. */
  readonly contentType: string | null
  readonly auth: AuthConfig
  readonly tls: TlsConfig
  /** Standard Webhooks secrets (`whsec_…`), the current one first; empty = unsigned. */
  readonly secrets: readonly string[]
  readonly connectTimeout: Millis
  /** One deadline from connect to the last byte. */
  readonly totalTimeout: Millis
  /** Kept of a response, counted after decompression; the rest is not read. */
  readonly maxResponse: Bytes
  /** Followed at most; 0 = a 3xx is a failure. */
  readonly redirects: number
  /** CIDR ranges whose addresses are refused after resolution. */
  readonly blockedNetworks: readonly string[]
  /** Names, in lower case, of headers and query parameters that hold a secret whatever they are called. */
  readonly hidden: readonly string[]
  readonly concurrency: number
  readonly rateLimit: { readonly count: number; readonly per: Millis } | null
  readonly order: 'libre' | 'estricto'
  readonly strategy: RetryStrategy
  readonly retryIf: readonly StatusRule[]
  readonly noRetryIf: readonly StatusRule[]
  readonly breaker: BreakerConfig | null
  readonly onSuccess: CallbackSpec | null
  readonly onFailure: CallbackSpec | null
  readonly auditBody: boolean
  readonly auditResponse: boolean
}

/** `429` → one status, `5xx` → a class, `red` → every failure without a status. */
export type StatusRule =
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'class'; readonly hundreds: number }
  | { readonly kind: 'network' }

export interface BreakerConfig {
  /** Percent of failures in the window that opens it. */
  readonly threshold: number
  /** Attempts in the window before the percentage counts. */
  readonly minimum: number
  readonly window: Millis
  readonly pause: Millis
}

export type AuthConfig =
  | { readonly kind: 'ninguna' }
  | { readonly kind: 'basic' | 'digest'; readonly username: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly token: string }
  | {
      readonly kind: 'api_key'
      readonly key: string
      readonly place: { readonly in: 'query' | 'header'; readonly name: string }
    }
  | {
      readonly kind: 'oauth2'
      readonly tokenUrl: string
      readonly clientId: string
      readonly clientSecret: string
      readonly scope: string | null
    }
  /** The client certificate itself is in `tls`. */
  | { readonly kind: 'ssl' }

export interface TlsConfig {
  /** PEM text of the private CA, already read; null = the system's. */
  readonly ca: string | null
  /** PEM certificate and key, or a PKCS#12 bundle; null = no client certificate. */
  readonly client:
    | { readonly kind: 'pem'; readonly cert: string; readonly key: string; readonly passphrase: string | null }
    | { readonly kind: 'pkcs12'; readonly bundle: Buffer; readonly passphrase: string | null }
    | null
}

export type CallbackTarget =
  | { readonly kind: 'exec'; readonly argv: readonly string[] }
  | { readonly kind: 'http'; readonly url: string }
  | { readonly kind: 'event'; readonly event: string }

/** `shown`: the target for the audit and for people, without what is secret in it. */
export type CallbackSpec = CallbackTarget & { readonly shown: string }

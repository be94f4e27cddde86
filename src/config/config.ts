/**
 * The configuration as the rest of the program sees it: immutable, complete, every value of its final type.
 *
 * How it is found, read, merged and validated is told by the neighbours of this file.
 */
import type { Millis } from '../model/message.ts'
import type { Secrets } from '../model/secrets.ts'
import type { AuthPlace, CallbackTarget } from './listener-kinds.ts'
import type { AUDIT, DELIVERY, PANEL, REDIS, REQUEST, USER, Values, WORKERS } from './settings.ts'

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
  readonly panel: PanelConfig
  /** Of the panel, by name. */
  readonly users: ReadonlyMap<string, UserConfig>
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
  /** `ini` is in the folder of this project: it names it, and no other. */
  readonly own: boolean
  /** `$I`, absolute. */
  readonly installation: string
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
export type Source = Origin & {
  readonly written: string | null
  /** What is in force, for people; null: nothing, or as it is written. */
  readonly shown: () => string | null
}

export type RedisConfig = Values<typeof REDIS> & {
  /** PEM text of the CA, already read. */
  readonly ca: string | null
}
export type AuditConfig = Values<typeof AUDIT>
export type WorkersConfig = Values<typeof WORKERS>
export type PanelConfig = Values<typeof PANEL>
type UserConfig = Values<typeof USER>
export type LogLevel = WorkersConfig['level']

/** Settings that are parts of one value. */
type Composed = 'strategyName' | 'threshold' | 'minimum' | 'window' | 'pause' | 'onSuccess' | 'onFailure'

/** The settings of `REQUEST` and `DELIVERY`, and what is made of several. */
export type ListenerConfig = Values<typeof REQUEST> &
  Omit<Values<typeof DELIVERY>, Composed> & {
    readonly name: string
    /** Absolute base URL: of `url`, of the client or of the service, `version` already applied. */
    readonly url: string
    readonly auth: AuthConfig
    readonly tls: TlsConfig
    /** Names, in lower case, of headers and query parameters that hold a secret whatever they are called. */
    readonly hidden: readonly string[]
    readonly strategy: RetryStrategy
    readonly breaker: BreakerConfig | null
    readonly onSuccess: CallbackSpec | null
    readonly onFailure: CallbackSpec | null
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
      readonly place: AuthPlace
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

/** `shown`: the target for the audit and for people, without what is secret in it. */
export type CallbackSpec = CallbackTarget & { readonly shown: string }

/** What every command needs: which project it is, and files that can be read. */
export const COMMON = ''
/** How Redis is reached, and how Postgres is. */
export const REDIS_PART = 'redis_config'
export const AUDIT_PART = 'auditoria'
/** What `send` obeys besides: `resthooks_activo`, `max_mensaje`. */
export const SEND_PART = 'send'

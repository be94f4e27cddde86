/**
 * The kinds of value that settings have: what each accepts, in words, how its text becomes a value, and how that is shown.
 *
 * The checks are valibot's; the words are ours, because one sentence that says what is accepted helps more than the
 * name of the step that failed.
 */
import { isIP } from 'node:net'
import * as v from 'valibot'
import { checkHeader } from '../model/http.ts'
import type { Bytes, Millis } from '../model/message.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../model/quantities.ts'

export type Read<T> =
  | { readonly ok: true; readonly value: T }
  /** `why`: a sentence about what `accepted` does not make plain. */
  | { readonly ok: false; readonly why?: string }

export interface Kind<T> {
  /** Ends the sentence «se acepta …». */
  readonly accepted: string
  /** Closed vocabularies: what a misspelt word is compared with. */
  readonly words: readonly string[]
  /** Whether `key[]` may give it. */
  readonly list: boolean
  /** `key =` is the default, unless the empty text means something for this setting, or can only be a slip. */
  readonly emptyMeans: 'default' | 'value' | 'mistake'
  read(texts: readonly string[]): Read<T>
  /** The value as it would be written. */
  show(value: T): string
}

type Schema<T> = v.GenericSchema<string, T>

/** @param schemaOf made when a value is first read: of all these kinds `send` reads a dozen, and making them took longer than reading */
export function kind<T>(
  accepted: string,
  schemaOf: () => Schema<T>,
  { words = [], show = String }: { words?: readonly string[]; show?: (value: T) => string } = {},
): Kind<T> {
  let schema: Schema<T> | undefined
  const read = (texts: readonly string[]): Read<T> => {
    schema ??= schemaOf()
    const result = v.safeParse(schema, texts[texts.length - 1])
    return result.success ? { ok: true, value: result.output } : { ok: false }
  }
  return { accepted, words, list: false, emptyMeans: 'default', read, show }
}

/** Commas separate the items, and so do the lines of `key[]`. */
export function list<T>(
  accepted: string,
  schemaOf: () => Schema<T>,
  { least, most, show = String }: { least: number; most: number; show?: (item: T) => string },
): Kind<readonly T[]> {
  const itemsOf = () => v.pipe(v.array(schemaOf()), v.minLength(least), v.maxLength(most))
  let items: ReturnType<typeof itemsOf> | undefined
  const read = (texts: readonly string[]): Read<readonly T[]> => {
    const split = texts.flatMap((text) => text.split(',')).map((text) => text.trim())
    // A trailing comma is no item; `a,,b` is a slip that must not pass as two.
    if (split.length > 0 && split[split.length - 1] === '') split.pop()
    items ??= itemsOf()
    const result = v.safeParse(items, split)
    return result.success ? { ok: true, value: result.output } : { ok: false }
  }
  const shown = (value: readonly T[]) => value.map(show).join(', ')
  return { accepted, words: [], list: true, emptyMeans: 'default', read, show: shown }
}

/** A secret: empty, it would protect nothing, and nobody would know. */
export function secret<T>(inner: Kind<T>): Kind<T> {
  return { ...inner, emptyMeans: 'mistake' }
}

/** The same kind, where `key =` is an empty value of its own and not the default. */
export function orEmpty<T>(inner: Kind<T>): Kind<T> {
  return { ...inner, emptyMeans: 'value' }
}

const trimmed = v.pipe(v.string(), v.trim())
const isNumber = <T>(value: T | null): value is T => value !== null

export const text: Kind<string> = kind('un texto de una línea, sin caracteres de control', () =>
  v.pipe(v.string(), v.regex(/^[^\p{Cc}]*$/u)),
)

export const headerText: Kind<string> = kind(
  'un texto que pueda ir en una cabecera HTTP: sin caracteres de control ni fuera de Latin-1',
  () =>
    v.pipe(
      v.string(),
      v.check((value) => checkHeader('x', value) === null),
    ),
)

const DIGITS = /^\d{1,15}$/

export function integer(least: number, most: number): Kind<number> {
  return kind(`un número entero de ${least} a ${most}`, () =>
    v.pipe(trimmed, v.regex(DIGITS), v.transform(Number), v.minValue(least), v.maxValue(most)),
  )
}

export function decimal(least: number, most: number): Kind<number> {
  return kind(`un número de ${least} a ${most}, con punto decimal`, () =>
    v.pipe(trimmed, v.regex(/^\d{1,9}(\.\d{1,9})?$/), v.transform(Number), v.minValue(least), v.maxValue(most)),
  )
}

export const port: Kind<number> = { ...integer(1, 65535), accepted: 'un puerto de 1 a 65535' }

const BOOLEANS: Readonly<Record<string, boolean>> = {
  '1': true,
  on: true,
  yes: true,
  true: true,
  si: true,
  sí: true,
  '0': false,
  off: false,
  no: false,
  none: false,
  false: false,
}

/** What PHP takes for a boolean, and its Spanish. */
export const boolean: Kind<boolean> = kind(
  '1 o 0 (también on/off, yes/no, true/false)',
  () =>
    v.pipe(
      trimmed,
      v.toLowerCase(),
      v.check((word) => Object.hasOwn(BOOLEANS, word)),
      v.transform((word) => BOOLEANS[word]!),
    ),
  { show: (value) => (value ? '1' : '0') },
)

export function word<const W extends string>(words: readonly W[]): Kind<W> {
  return kind(words.join(' | '), () => v.pipe(trimmed, v.toLowerCase(), v.picklist(words)), { words })
}

const DURATION_EXAMPLES = '500ms, 5s, 10m, 2h, 7d; un número solo son segundos'

function durationSchema(least: Millis, most: Millis): Schema<Millis> {
  return v.pipe(
    v.string(),
    v.transform(parseDuration),
    v.check(isNumber),
    v.transform(Number),
    v.minValue(least),
    v.maxValue(most),
  )
}

export function duration(least: Millis, most: Millis): Kind<Millis> {
  return kind(
    `una duración de ${formatDuration(least)} a ${formatDuration(most)} (${DURATION_EXAMPLES})`,
    () => durationSchema(least, most),
    { show: formatDuration },
  )
}

export function size(least: Bytes, most: Bytes): Kind<Bytes> {
  return kind(
    `un tamaño de ${formatSize(least)} a ${formatSize(most)} (64k, 1M; un número solo son bytes)`,
    () =>
      v.pipe(
        v.string(),
        v.transform(parseSize),
        v.check(isNumber),
        v.transform(Number),
        v.minValue(least),
        v.maxValue(most),
      ),
    { show: formatSize },
  )
}

/** `20%` or `20` → 20. A bare `0.2` would be taken for a fifth by some and for a five-hundredth by others. */
export const percent: Kind<number> = kind('un porcentaje de 0 a 100 (20%)', () =>
  v.pipe(
    trimmed,
    v.regex(/^(?:\d{1,3}(?:\.\d{1,6})?\s*%|\d{1,3})$/),
    v.transform((value) => Number(value.replace('%', ''))),
    v.maxValue(100),
  ),
)

/** A host name, an address or (Postgres) the folder of a socket: nothing that could be mistaken for a URL. */
export const host: Kind<string> = kind('un nombre de servidor o una dirección IP, sin puerto ni «http://»', () =>
  v.pipe(trimmed, v.check(isHost), v.transform(bare)),
)

export const hostOrSocket: Kind<string> = kind(
  'un nombre de servidor, una dirección IP o la carpeta de un socket (/var/run/postgresql)',
  () =>
    v.pipe(
      trimmed,
      v.check((text) => isHost(text) || /^\/[^\p{Cc}]*$/u.test(text)),
      v.transform(bare),
    ),
)

/** First without the letters of all languages, which V8 takes half a millisecond to compile at each start. */
function isHost(text: string): boolean {
  return (
    /^[\w.-]{1,253}$/.test(text) || /^(?:\[?(?=[^:]*:)[0-9a-fA-F:.]+\]?(?:%\w+)?|[\p{L}\p{N}_.-]{1,253})$/u.test(text)
  )
}

/** `[::1]` → `::1` */
function bare(address: string): string {
  return address.replace(/^\[(.*)\]$/, '$1')
}

interface HostPort {
  readonly host: string
  readonly port: number
}

/** `host:port`, `[::1]:port`. */
const hostPortSchema = (): Schema<HostPort> =>
  v.pipe(
    trimmed,
    v.regex(/^(?:\[[0-9a-fA-F:.]+\]|[\p{L}\p{N}_.-]{1,253}):\d{1,5}$/u),
    v.transform((value) => {
      const at = value.lastIndexOf(':')
      return { host: bare(value.slice(0, at)), port: Number(value.slice(at + 1)) }
    }),
    v.check((value) => value.port >= 1 && value.port <= 65535),
  )

const showHostPort = ({ host, port }: HostPort) => `${host}:${port}`

export const hostPorts: Kind<readonly HostPort[]> = list('servidor:puerto, separados por comas', hostPortSchema, {
  least: 1,
  most: 64,
  show: showHostPort,
})

/** A bare port listens on this machine alone. */
export const listenAddress: Kind<HostPort> = kind(
  'servidor:puerto (127.0.0.1:9464)',
  () =>
    v.pipe(
      trimmed,
      v.transform((value) => (/^\d{1,5}$/.test(value) ? `127.0.0.1:${value}` : value)),
      hostPortSchema(),
    ),
  { show: showHostPort },
)

/** `resthooks.uni.edu.ar`, `panel:8443`: what may stand in a Host header. */
export const serverNames: Kind<readonly string[]> = list(
  'nombres de servidor separados por comas, con su puerto donde lo hay (resthooks.uni.edu.ar)',
  () => v.pipe(trimmed, v.toLowerCase(), v.regex(/^(?:\[[0-9a-f:.]+\]|[\p{L}\p{N}_.-]{1,253})(?::\d{1,5})?$/u)),
  { least: 1, most: 64 },
)

export const address: Kind<string> = kind('una dirección IP (127.0.0.1)', () =>
  v.pipe(
    trimmed,
    v.transform(bare),
    v.check((value) => isIP(value) !== 0),
  ),
)

/** Without the slash at its end. */
export const pathPrefix: Kind<string> = kind('una ruta que empieza con / (/resthooks), o nada', () =>
  v.pipe(
    trimmed,
    v.regex(/^(?:\/[\w.~-]+)*\/?$/),
    v.transform((value) => value.replace(/\/$/, '')),
  ),
)

export const headerName: Kind<string> = kind('el nombre de una cabecera HTTP', () =>
  v.pipe(
    trimmed,
    v.check((value) => checkHeader(value, 'x') === null),
  ),
)

/** As `resthooks panel --clave` makes it: cost, block size, parallelism, salt and hash of scrypt. */
export const passwordEntry: Kind<string> = kind('lo que imprime «resthooks panel --clave» (scrypt:16384:8:5:…)', () =>
  v.pipe(trimmed, v.regex(/^scrypt:\d{4,7}:\d{1,2}:\d{1,2}:[\w-]{16,64}:[\w-]{32,128}$/)),
)

/** Postgres folds unquoted names and keeps 63 bytes; `pg_` is its own. */
export const schemaName: Kind<string> = kind(
  'el nombre de un esquema: letras minúsculas sin acento, números y «_», hasta 63, sin empezar con número ni con pg_',
  () => v.pipe(trimmed, v.regex(/^(?!pg_)[a-z_][a-z0-9_]{0,62}$/)),
)

/** An empty list would be no schedule of its own. */
export const delays: Kind<readonly Millis[]> = orEmpty(
  list('una lista de 1 a 1000 duraciones separadas por comas (5s, 5m, 2h)', () => durationSchema(1, 365 * 86_400_000), {
    least: 1,
    most: 1000,
    show: formatDuration,
  }),
)

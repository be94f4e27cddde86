/**
 * How one setting gets its value: who has it written (the layers, first wins), what it says after `${VAR}` is replaced,
 * whether it is what the setting accepts; and where it came from, for `verificar`.
 */
import { dirname } from 'node:path'
import { suggestion } from '../model/nearest.ts'
import { MASK } from '../model/secrets.ts'
import type { Origin, Source } from './config.ts'
import { interpolate, type Range, type Variable, type Variables } from './env.ts'
import type { IniFile, IniSection } from './ini.ts'
import type { Kind } from './kinds.ts'
import { type Position, type Problems, quoted } from './problems.ts'
import { isSecret, type SecretValues } from './secret-values.ts'
import type { Section, Setting, ValueOf, Values } from './settings.ts'

/** What all the readers of one load share. */
export interface Context {
  readonly problems: Problems
  readonly variables: Variables
  readonly origins: Map<string, Source>
  readonly secrets: SecretValues
  /** Every file that was opened, or that a setting names. */
  readonly watched: Set<string>
  /** Where a cliente.ini was looked for. */
  readonly tried: Set<string>
  readonly cwd: string
}

/** A value as somebody wrote it. */
export interface Written {
  /** One for each line of a `key[]` list. Null: it could not be read, which was already reported. */
  readonly texts: readonly string[] | null
  /** For each of `texts`, what of it variables gave. */
  readonly ranges: readonly (readonly Range[])[]
  /** As in the file, before `${VAR}` was replaced by what may be a secret. */
  readonly shown: string
  readonly isList: boolean
  readonly position: Position
  readonly origin: Origin
  /** What relative paths in it are relative to. */
  readonly folder: string
}

/** A source of settings: a section of a file, or variables. */
export interface Layer {
  find(key: string): Written | null
}

export const NOTHING: Layer = { find: () => null }

export function sectionLayer(context: Context, file: IniFile, section: IniSection): Layer {
  const known = new Map<string, Written | null>()
  const read = (key: string): Written | null => {
    const entry = section.entries.get(key)
    if (!entry) return null
    const position = { file: file.path, line: entry.lines[0]!, section: section.name, key }
    const texts: string[] = []
    const ranges: (readonly Range[])[] = []
    for (const [index, value] of entry.values.entries()) {
      const result = interpolate(value, context.variables)
      const at = { ...position, line: entry.lines[index] ?? position.line }
      if (result.kind === 'text') {
        texts.push(result.text)
        ranges.push(result.ranges)
      } else if (result.kind === 'missing') {
        if (!context.variables.isExcused(result.variable))
          context.problems.add(at, missing(result.variable, context.variables))
      } else
        context.problems.add(
          at,
          `${quoted(result.reference)} no es una referencia: se acepta \${VARIABLE} o \${VARIABLE:-valor}.`,
        )
    }
    return {
      texts: texts.length === entry.values.length ? texts : null,
      ranges,
      shown: entry.values.join(', '),
      isList: entry.list,
      position,
      origin: { kind: 'ini', file: file.path, line: position.line },
      folder: dirname(file.path),
    }
  }
  return {
    find: (key) => {
      if (!known.has(key)) known.set(key, read(key))
      return known.get(key)!
    },
  }
}

function missing(variable: string, variables: Variables): string {
  const file = variables.file === null ? '' : ` ni en ${variables.file.path}`
  return `la variable ${variable} no está definida en el entorno${file}. Defínala, o escriba \${${variable}:-valor}.`
}

/** Of a section whose settings variables may hold: those that win over resthooks.ini, the file, those that are asked after it. */
export function withVariables(context: Context, rows: Section, ini: Layer): readonly Layer[] {
  const layer = (namesOf: (row: Setting) => readonly string[]): Layer => ({
    find: (key) => {
      for (const name of namesOf(rows[key]!)) {
        const found = context.variables.getFilled(name)
        if (found) return written(context, name, found)
      }
      return null
    },
  })
  return [layer(({ variable }) => (variable ? [variable] : [])), ini, layer(({ others }) => others ?? [])]
}

export function written(context: Context, name: string, { value, origin, line }: Variable): Written {
  const file = origin.kind === 'env-file' ? origin.file : null
  return {
    texts: [value],
    ranges: [[[0, value.length]]],
    shown: value,
    isList: false,
    position: { file, line, key: name },
    origin,
    folder: file === null ? context.cwd : dirname(file),
  }
}

/** The first layer's where the key has anything to the right of `=`. */
export function find(layers: readonly Layer[], key: string): Written | null {
  for (const layer of layers) {
    const found = layer.find(key)
    if (found && (found.texts === null || found.texts.some((text) => text.trim() !== ''))) return found
  }
  return null
}

/** The first layer's where the key is written at all, even as `key =`. */
function findWritten(layers: readonly Layer[], key: string): Written | null {
  for (const layer of layers) {
    const found = layer.find(key)
    if (found) return found
  }
  return null
}

/** Reads the settings of one section. */
export interface Lookup {
  readonly context: Context
  readonly layers: readonly Layer[]
  /** As `Config.origins` names it: `redis_config`, `listener proveedores`; '' for the keys before any section. */
  readonly section: string
}

/**
 * The setting's value, or its default when it is absent, empty or wrong (wrong is reported).
 * @param fallback where the default depends on other settings
 */
export function setting<S extends Section, K extends keyof S & string>(
  lookup: Lookup,
  rows: S,
  key: K,
  fallback = rows[key]!.default as ValueOf<S[K]>,
): ValueOf<S[K]> {
  const { kind, show = kind.show, asWritten } = rows[key]!
  if (kind.emptyMeans === 'mistake') refuseEmpty(lookup, key, kind)
  const found = kind.emptyMeans === 'value' ? findWritten(lookup.layers, key) : find(lookup.layers, key)
  const value = found === null ? null : readWritten(lookup, key, kind, found)
  const result = value === null ? fallback : (value as ValueOf<S[K]>)
  remember(lookup, key, found, () => (asWritten || result === null ? null : show(result)))
  return result
}

/** Every setting of the section that has a name in `Config`. */
export function values<S extends Section>(lookup: Lookup, rows: S): Values<S> {
  const named = Object.keys(rows).filter((key) => rows[key]!.as !== null)
  return Object.fromEntries(named.map((key) => [rows[key]!.as, setting(lookup, rows, key)])) as Values<S>
}

/** Reports a value that another setting makes wrong: it is more particular than the row. */
export function requireKind(lookup: Lookup, key: string, kind: Kind<unknown>): void {
  const found = find(lookup.layers, key)
  if (found) readWritten(lookup, key, kind, found)
}

/** Null when it is wrong, which is reported. */
function readWritten<T>({ context }: Lookup, key: string, kind: Kind<T>, found: Written): T | null {
  if (found.texts === null) return null
  if (found.isList && !kind.list) {
    context.problems.add(found.position, 'la clave no es una lista: quite los «[]».')
    return null
  }
  context.secrets.collect(key, found.texts, found.ranges)
  const result = kind.read(found.texts)
  if (result.ok) return result.value
  // Hidden before it is cut: half a secret would not be known.
  const shown = isSecret(key) ? MASK : quoted(context.secrets.secrets().hide(found.shown))
  const hint = result.why ? ` ${result.why}` : isSecret(key) ? '' : suggestion(found.shown, kind.words)
  context.problems.add(found.position, `se encontró ${shown}; se acepta ${kind.accepted}.${hint}`)
  return null
}

/** `key =` with nothing is how a template says that there is no password; a variable without a value is a slip. */
const UNFILLED = /\$\{\s*\w+\s*\}|\$env\(/

function refuseEmpty({ context, layers }: Lookup, key: string, { list }: Kind<unknown>): void {
  const written = findWritten(layers, key)
  if (!written?.texts || written.texts.some((text) => text.trim() !== '')) return
  const unfilled = UNFILLED.test(written.shown)
  if (!list && !unfilled) return
  const why = unfilled ? `está vacía: la variable de ${quoted(written.shown)} no tiene valor` : 'está vacía'
  context.problems.add(written.position, `${why}. Un secreto vacío no protege nada: complételo, o quite la línea.`)
}

function remember(lookup: Lookup, key: string, found: Written | null, shown: Source['shown']): void {
  const origin: Origin = found?.origin ?? { kind: 'default' }
  lookup.context.origins.set(nameOf(lookup, key), { ...origin, written: found?.shown ?? null, shown })
}

/** What is in force of a setting, where other settings decide that too. @param text null: as it was written */
export function showInForce(lookup: Lookup, key: string, text: string | null): void {
  const source = lookup.context.origins.get(nameOf(lookup, key))
  if (source) lookup.context.origins.set(nameOf(lookup, key), { ...source, shown: () => text })
}

function nameOf({ section }: Lookup, key: string): string {
  return section === '' ? key : `${section}.${key}`
}

/** Warns of what is written and has no effect with this `estrategia`, or `auth_tipo`. */
export function warnAboutIdle(lookup: Lookup, rows: Section, chosen: string, why: string): void {
  for (const [key, { only }] of Object.entries(rows)) {
    const idle = only === undefined || only.includes(chosen) ? null : find(lookup.layers, key)
    if (idle) lookup.context.problems.warn(idle.position, `no tiene efecto con ${why} = ${chosen}.`)
  }
}

/**
 * Reports the keys of a section that mean nothing there.
 * @param homeOf where such a key does mean something, `[workers]`; null: nowhere
 */
export function reportUnknownKeys(
  context: Context,
  file: IniFile,
  section: IniSection,
  rows: Section,
  homeOf: (key: string) => string | null,
): void {
  const known = Object.keys(rows)
  for (const { key, lines } of section.entries.values()) {
    if (known.includes(key)) continue
    context.problems.add(
      { file: file.path, line: lines[0]!, section: section.name, key },
      `clave desconocida.${hintOf(key, known, homeOf(key))}`,
    )
  }
}

/** Forty names help only whom nothing nearer does. */
function hintOf(key: string, known: readonly string[], home: string | null): string {
  if (home !== null) return ` Va en otro lugar: ${home}.`
  return suggestion(key, known) || ` Se aceptan: ${known.join(' ')}.`
}

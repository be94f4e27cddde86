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
import { type Place, type Problems, quoted } from './problems.ts'
import type { SecretValues } from './secret-values.ts'
import { isSecret } from './settings.ts'

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
  readonly place: Place
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
    const place = { file: file.path, line: entry.lines[0]!, section: section.name, key }
    const texts: string[] = []
    const ranges: (readonly Range[])[] = []
    for (const [index, value] of entry.values.entries()) {
      const result = interpolate(value, context.variables)
      const at = { ...place, line: entry.lines[index] ?? place.line }
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
      place,
      origin: { kind: 'ini', file: file.path, line: place.line },
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

/** @param names by key, the variables that may hold it, first wins */
export function variablesLayer(context: Context, names: Readonly<Record<string, readonly string[]>>): Layer {
  return {
    find: (key) => {
      for (const name of names[key] ?? []) {
        const found = context.variables.getFilled(name)
        if (found) return written(context, name, found)
      }
      return null
    },
  }
}

export function written(context: Context, name: string, { value, origin, line }: Variable): Written {
  const file = origin.kind === 'env-file' ? origin.file : null
  return {
    texts: [value],
    ranges: [[[0, value.length]]],
    shown: value,
    isList: false,
    place: { file, line, key: name },
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
export function findWritten(layers: readonly Layer[], key: string): Written | null {
  for (const layer of layers) {
    const found = layer.find(key)
    if (found) return found
  }
  return null
}

/** Reads the settings of one section. */
export interface Reader {
  readonly context: Context
  readonly layers: readonly Layer[]
  /** As `Config.origins` names it: `redis_config`, `listener proveedores`; '' for the keys before any section. */
  readonly section: string
}

/** The setting's value, or `fallback` when it is absent, empty or wrong (wrong is reported). */
export function setting<T, F>(reader: Reader, key: string, kind: Kind<T>, fallback: F): T | F {
  if (kind.emptyMeans === 'mistake') refuseEmpty(reader, key, kind)
  const found = kind.emptyMeans === 'value' ? findWritten(reader.layers, key) : find(reader.layers, key)
  remember(reader, key, found)
  if (found === null || found.texts === null) return fallback
  if (found.isList && !kind.list) {
    reader.context.problems.add(found.place, 'la clave no es una lista: quite los «[]».')
    return fallback
  }
  reader.context.secrets.collect(key, found.texts, found.ranges)
  const result = kind.read(found.texts)
  if (result.ok) return result.value
  // Hidden before it is cut: half a secret would not be known.
  const shown = isSecret(key) ? MASK : quoted(reader.context.secrets.secrets().hide(found.shown))
  const hint = isSecret(key) ? '' : suggestion(found.shown, kind.words)
  reader.context.problems.add(found.place, `se encontró ${shown}; se acepta ${kind.accepted}.${hint}`)
  return fallback
}

/** `key =` with nothing is how a template says that there is no password; a variable without a value is a slip. */
const UNFILLED = /\$\{\s*\w+\s*\}|\$env\(/

function refuseEmpty({ context, layers }: Reader, key: string, { list }: Kind<unknown>): void {
  const written = findWritten(layers, key)
  if (!written?.texts || written.texts.some((text) => text.trim() !== '')) return
  const unfilled = UNFILLED.test(written.shown)
  if (!list && !unfilled) return
  const why = unfilled ? `está vacía: la variable de ${quoted(written.shown)} no tiene valor` : 'está vacía'
  context.problems.add(written.place, `${why}. Un secreto vacío no protege nada: complételo, o quite la línea.`)
}

export function remember(reader: Reader, key: string, found: Written | null): void {
  const name = reader.section === '' ? key : `${reader.section}.${key}`
  reader.context.origins.set(
    name,
    found ? { ...found.origin, written: found.shown } : { kind: 'default', written: null },
  )
}

/** Reports the keys of a section that mean nothing there. */
export function reportUnknownKeys(
  context: Context,
  file: IniFile,
  section: IniSection,
  known: readonly string[],
): void {
  for (const { key, lines } of section.entries.values()) {
    if (known.includes(key)) continue
    context.problems.add(
      { file: file.path, line: lines[0]!, section: section.name, key },
      `clave desconocida.${suggestion(key, known)} Se aceptan: ${known.join(' ')}.`,
    )
  }
}

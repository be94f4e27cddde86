/**
 * Finding and reading text files: the first of several places, or one that was named explicitly.
 *
 * cosmiconfig searches and reads. Its public entry is avoided on purpose: before anything else it looks in the working
 * directory for its own settings and runs `.config/config.js` from there, with the rights of whoever typed `resthooks`
 * (and it loads the YAML and JSON parsers for that, 10 ms of each `send`). `ExplorerSync` is the searcher alone.
 */
import { readFileSync, statSync } from 'node:fs'
import { sep } from 'node:path'
import { ExplorerSync } from 'cosmiconfig/dist/ExplorerSync.js'
import { systemReason } from '../errors.ts'
import type { Problems } from './problems.ts'

export interface TextFile {
  /** Absolute. */
  readonly path: string
  readonly text: string
}

/** Loaders return an object, never the text itself: cosmiconfig would look for `$import` in it. */
const read = (path: string, text: string): { readonly text: string } => ({ text: decode(path, text) })

function explorer(places: readonly string[]): ExplorerSync<{ readonly text: string }> {
  return new ExplorerSync({
    moduleName: 'resthooks',
    searchPlaces: places,
    loaders: { '.ini': read, '.env': read, noExt: read, default: read },
    transform: (found) => found,
    ignoreEmptySearchPlaces: false,
    cache: false,
    searchStrategy: 'none',
    metaConfigFilePath: null,
    mergeImportArrays: true,
    mergeSearchPlaces: false,
  })
}

/** cosmiconfig has read the bytes as UTF-8; toba ships Latin-1 files too, where that leaves replacement characters. */
function decode(path: string, text: string): string {
  const decoded = text.includes('\uFFFD') ? decodeBytes(readFileSync(path)) : text
  return decoded.startsWith('\uFEFF') ? decoded.slice(1) : decoded
}

function decodeBytes(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return bytes.toString('latin1')
  }
}

/**
 * The first of `places` (absolute) that exists, or null. One that exists and cannot be read is a problem: going on to the
 * next place would quietly run with another configuration. The same holds within the folder `named`, if we are not let in.
 */
export function findFile(
  places: readonly string[],
  what: string,
  problems: Problems,
  named: string | null = null,
): TextFile | null {
  let found: ReturnType<ReturnType<typeof explorer>['search']>
  try {
    found = explorer(places).search('/')
  } catch (error) {
    // A disk error, a loop of links: whatever cosmiconfig does not take for "not here".
    problems.add({ file: (error as NodeJS.ErrnoException).path ?? places[0]!, line: null }, reason(error))
    return null
  }
  const passed = found ? places.slice(0, places.indexOf(found.filepath)) : places
  for (const place of passed) {
    const at = { file: place, line: null }
    const kind = kindOf(place)
    if (kind === 'file') problems.add(at, `el ${what} existe, pero no se puede leer: ${UNREADABLE}`)
    if (kind !== 'hidden') continue
    const message = `${UNSEEN} ${what}: ${UNREADABLE}`
    if (named !== null && place.startsWith(`${named}${sep}`)) problems.add(at, message)
    else problems.warn(at, message)
  }
  return found && { path: found.filepath, text: found.config?.text ?? '' }
}

/** A file that was named explicitly (`named` tells how): missing or unreadable is a problem. */
export function readFile(path: string, named: string, problems: Pick<Problems, 'add'>): TextFile | null {
  try {
    const { filepath, config } = explorer([]).load(path)
    return { path: filepath, text: config?.text ?? '' }
  } catch (error) {
    problems.add({ file: path, line: null }, `${named}, pero ${reason(error)}`)
    return null
  }
}

/** What is said of a place in a folder that we may not enter. */
export const UNSEEN = 'no se puede ver si aquí hay un'

const UNREADABLE = 'déle permiso de lectura al usuario que ejecuta resthooks.'

/** Why a file could not be read, in words, and what to do about it. */
export function reason(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'el archivo no existe.'
  if (code === 'EACCES' || code === 'EPERM') return `no se puede leer: ${UNREADABLE}`
  if (code === 'EISDIR') return 'es una carpeta, no un archivo.'
  return `no se puede leer: ${systemReason(error) ?? String(error)}.`
}

function kindOf(path: string): 'file' | 'hidden' | 'none' {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() ? 'file' : 'none'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? 'hidden' : 'none'
  }
}

/** Whether every user of the machine may read it. Windows has no such bits and says no. */
export function isReadableByOthers(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat !== undefined && process.platform !== 'win32' && (stat.mode & 0o004) !== 0
}

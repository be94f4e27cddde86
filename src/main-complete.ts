/**
 * `resthooks --completar WORDS…`: what the shells call at each press of the tab key. A program of its own, since all it needs are the
 * files and the table of commands that the build made: the rest would take longer to load than a person waits.
 */
import { readFileSync } from 'node:fs'
import { complete, type Names } from './commands/completion.ts'
import type { ProgramInfo } from './commands/manual.ts'
import { type LoadOptions, locations, projectsWithIni } from './config/files.ts'
import { parseIni } from './config/ini.ts'
import { Problems } from './config/problems.ts'

const GLOBAL: Readonly<Record<string, keyof LoadOptions>> = {
  '-i': 'instancia',
  '--instancia': 'instancia',
  '-p': 'proyecto',
  '--proyecto': 'proyecto',
  '--config': 'config',
  '--env': 'env',
  '--instalacion': 'instalacion',
}

/** Lines: a value, a tab, what it is; or `:archivos`, `:carpetas`. @param table path of what the build wrote */
export function completionText(words: readonly string[], table: string): string {
  const program = JSON.parse(readFileSync(table, 'utf8')) as ProgramInfo
  const found = complete(words, program, () => namesFor(words))
  if (found === 'files') return ':archivos'
  if (found === 'folders') return ':carpetas'
  return found.map(({ value, says }) => `${value}\t${says.replace(/\s+/g, ' ')}`).join('\n')
}

function namesFor(words: readonly string[]): Names {
  const options: Record<string, string> = {}
  words.forEach((word, at) => {
    const name = GLOBAL[word]
    if (name !== undefined && at < words.length - 2) options[name] = words[at + 1]!
  })
  // Nobody reads what is wrong with the files here.
  const quiet = new Problems()
  const { ini, installation } = locations(options, quiet)
  const projects = projectsWithIni(installation)
  const text = (ini.kind === 'explicit' ? [ini.path] : ini.places).map(textOf).find((each) => each !== null)
  const { sections } = parseIni('', text ?? '', quiet, 'last')
  const listeners = sections.filter(({ name }) => name.startsWith('listener '))
  const events = listeners
    .flatMap(({ entries }) => entries.get('eventos')?.values ?? [])
    .flatMap((list) => list.split(','))
  const unique = (values: readonly string[]) => [...new Set(values.map((value) => value.trim()).filter(Boolean))].sort()
  return {
    listeners: unique(listeners.map(({ name }) => name.slice('listener '.length))),
    events: unique(events).filter((event) => event !== '*'),
    instances: unique(projects.map(({ instancia }) => instancia)),
    projects: unique(projects.map(({ proyecto }) => proyecto)),
  }
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Not there, or not for us to read: the next place.
    return null
  }
}

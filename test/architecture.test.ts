/** What ARCHITECTURE.md promises and a compiler does not check: the direction of imports, and its list of keys. */
import { readdir, readFile } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { keysOf } from '../src/queue/keys.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

/** A folder may import from its own level and from those below. */
const LEVELS = [
  ['model'],
  ['config'],
  ['delivery', 'queue', 'audit'],
  ['worker'],
  ['recovery', 'checks'],
  ['panel'],
  ['commands'],
]

interface Source {
  /** Below `src/`. */
  readonly name: string
  readonly folder: string
  readonly text: string
  /** What it imports of `src/`, types and what is loaded only when it is needed included. */
  readonly imports: readonly string[]
  /** Those of them that are types alone: nothing of theirs is run. */
  readonly types: ReadonlySet<string>
}

async function sources(): Promise<Source[]> {
  const names = (await readdir(join(root, 'src'), { recursive: true })).filter((name) => /\.tsx?$/.test(name))
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(root, 'src', name), 'utf8')
      const at = (target: string) => posix.join(posix.dirname(name), target)
      const imports = [...text.matchAll(/(?:\bfrom |\bimport |\bimport\()'(\.[^']+\.tsx?)'/g)].map(([, to]) => at(to!))
      const types = new Set([...text.matchAll(/^import type [^']+ from '([^']+)'/gm)].map(([, to]) => at(to!)))
      return { name, folder: name.includes('/') ? name.split('/')[0]! : '', text, imports, types }
    }),
  )
}

/** Ways that lead back to where they begin, the shortest of each place. */
function circles(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const found = new Set<string>()
  for (const start of edges.keys()) {
    const ways: string[][] = [[start]]
    const seen = new Set<string>()
    for (let way = ways.shift(); way; way = ways.shift()) {
      for (const next of edges.get(way.at(-1)!) ?? []) {
        if (next === start && start === way.toSorted()[0]) found.add([...way, start].join(' → '))
        else if (!seen.has(next)) ways.push([...way, next])
        seen.add(next)
      }
    }
  }
  return [...found]
}

test('imports run one way', async () => {
  const level = (folder: string) => LEVELS.findIndex((folders) => folders.includes(folder))
  const all = await sources()
  const wrong = all.flatMap(({ name, folder, imports }) =>
    imports
      .map((target) => target.split('/')[0]!)
      .filter((target) => level(folder) >= 0 && level(target) > level(folder))
      .map((target) => `${name} → ${target}`),
  )
  expect(wrong).toEqual([])
})

test('no circle of files, and none of folders', async () => {
  const circle = [
    ['a', ['b']],
    ['b', ['c', 'd']],
    ['c', ['a']],
  ] as const
  expect(circles(new Map(circle.map(([name, to]) => [name, new Set(to)])))).toEqual(['a → b → c → a'])
  const all = await sources()
  expect(circles(new Map(all.map(({ name, imports }) => [name, new Set(imports)])))).toEqual([])
  const folders = new Map<string, Set<string>>()
  for (const { folder, imports } of all) {
    const targets = folders.get(folder) ?? new Set()
    for (const target of imports) if (target.includes('/')) targets.add(target.split('/')[0]!)
    targets.delete(folder)
    folders.set(folder, targets)
  }
  // What stands beside the folders is below or above all of them.
  folders.delete('')
  expect(circles(folders)).toEqual([])
})

test('what runs in the browser is of the page or of model/, and of the server only types', async () => {
  const isPage = (name: string) => name.startsWith('panel/page/')
  const all = await sources()
  // model/ knows Node: of what a page's file takes from there, everything has to do without.
  const reached = new Set(all.filter(({ name }) => isPage(name)).map(({ name }) => name))
  const wrong: string[] = []
  for (const name of reached) {
    const { text, imports, types } = all.find((source) => source.name === name)!
    if (/from 'node:/.test(text)) wrong.push(`${name}: Node`)
    for (const target of imports.filter((each) => !types.has(each))) {
      if (isPage(target) || target.startsWith('model/')) reached.add(target)
      else wrong.push(`${name} → ${target}`)
    }
  }
  expect(wrong).toEqual([])
  expect(all.filter(({ name, imports }) => !isPage(name) && imports.some(isPage)).map(({ name }) => name)).toEqual([])
})

test('only queue/ gives commands to Redis', async () => {
  const commands = new Set(new Redis({ lazyConnect: true }).getBuiltinCommands())
  const wrong: string[] = []
  for (const { name, folder, text } of await sources()) {
    if (folder === 'queue') continue
    if (/from 'ioredis'/.test(text)) wrong.push(`${name}: ioredis`)
    for (const [, command = ''] of text.matchAll(/\b(?:redis|probe|subscriber)\s*\.\s*(\w+)\(/g)) {
      if (commands.has(command.toLowerCase().replace(/buffer$/, ''))) wrong.push(`${name}: ${command}`)
    }
  }
  expect(wrong).toEqual([])
})

test('a command that is shown to be typed comes from model/typed.ts, which keeps its project', async () => {
  const names = (await readdir(join(root, 'src/commands'))).map((name) => name.replace(/\.ts$/, ''))
  const literal = new RegExp(`^(?! *(?:\\*|//|/\\*)).*resthooks (?:${names.join('|')})\\b.*`, 'gm')
  const found = (await sources()).flatMap(({ name, text }) => {
    const lines = [...text.matchAll(literal)].filter(([line]) => !MENTIONS.some((said) => line.includes(said)))
    return ABOUT_COMMANDS.has(name) ? [] : lines.map(([line]) => `${name}: ${line.trim()}`)
  })
  expect(found).toEqual([])
})

/** Examples, and files of whichever project was just made. */
const ABOUT_COMMANDS = new Set(['commands/examples.ts', 'commands/starter-files.ts', 'commands/iniciar.ts'])

/** What is spoken of, or of no project. */
const MENTIONS = [
  ...['resthooks panel', '«resthooks reanudar»', '«resthooks reenviar»', '«resthooks pausar»', '«resthooks purgar»'],
  ...[
    'resthooks ayuda',
    'resthooks send',
    'resthooks crear-base --mostrar-sql |',
    '(se envían con: resthooks reenviar --sin-listener)',
  ],
]

test('every folder of src is told, and stands in its level', async () => {
  const text = await readFile(join(root, 'ARCHITECTURE.md'), 'utf8')
  const folders = (await readdir(join(root, 'src'), { withFileTypes: true })).filter((entry) => entry.isDirectory())
  for (const { name } of folders) {
    expect(text).toContain(`| \`src/${name}/\` |`)
    expect(LEVELS.flat()).toContain(name)
  }
})

test('every key of Redis is told', async () => {
  const text = await readFile(join(root, 'ARCHITECTURE.md'), 'utf8')
  const { lane, ...keys } = keysOf('i', 'p')
  const names = [...Object.values(keys), ...Object.values(lane('L'))].map((key) => key.replace('resthooks:{i:p}:', ''))
  for (const name of names)
    expect(text).toContain(`\`${name.replace(/:L$/, ':<listener>').replace(/^(mensaje|clave):$/, '$1:<')}`)
})

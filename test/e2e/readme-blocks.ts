/** The code blocks of README.md and docs/, by the name in the comment above each (`<!-- prueba: NAME -->`). */
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface Page {
  /** From the root: `docs/operar.md`. */
  readonly path: string
  readonly text: string
}

export interface Block {
  readonly page: string
  /** What stands behind the fence: `sh`, `ini`. */
  readonly language: string
  readonly text: string
}

/** The README first. */
export const pages: readonly Page[] = await Promise.all(
  [
    'README.md',
    ...(await readdir(`${root}docs`)).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
  ].map(async (path) => ({ path, text: await readFile(`${root}${path}`, 'utf8') })),
)

export const readme = pages[0]!.text

/** May stand inside a list, indented as its text. */
const NAMED = /^( *)<!-- prueba: (.+?) -->\n\1```(\w+)\n([\s\S]*?)^\1```$/gm

const found = pages.flatMap(({ path, text }) =>
  [...text.matchAll(NAMED)].map(([, indent, name, language, body]) => {
    const lines = body!.split('\n').map((line) => (line.startsWith(indent!) ? line.slice(indent!.length) : line))
    return [name!, { page: path, language: language!, text: lines.join('\n') }] as const
  }),
)

export const blocks: ReadonlyMap<string, Block> = new Map(found)

/** Names that stand twice. */
export const repeated = found.map(([name]) => name).filter((name, n, all) => all.indexOf(name) !== n)

/** Those that recipes.test.ts runs. */
export const RECIPES = [
  'cliente.ini de toba',
  'toba digest',
  'basic',
  'clave de api',
  'certificado de cliente',
  'oauth2',
  'secreto',
  'webhook firmado',
  'receptor php',
  'receptor node',
] as const

/** @throws when no page has such a block */
export function blockText(name: string): string {
  const block = blocks.get(name)
  if (block === undefined) throw new Error(`neither README.md nor docs/ has a block «${name}»`)
  return block.text
}

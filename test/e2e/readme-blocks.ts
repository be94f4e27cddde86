/** The code blocks of the README, by the name in the comment above each (`<!-- prueba: NAME -->`). */
import { readFile } from 'node:fs/promises'

export const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')

export const blocks: ReadonlyMap<string, string> = new Map(
  [...readme.matchAll(/<!-- prueba: (.+?) -->\n```\w+\n([\s\S]*?)```/g)].map(([, name, text]) => [name!, text!]),
)

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

/** @throws when the README has no such block */
export function blockText(name: string): string {
  const text = blocks.get(name)
  if (text === undefined) throw new Error(`README.md has no block «${name}»`)
  return text
}

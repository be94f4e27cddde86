/** NOTICE: the licence of every package whose code the build holds, as the packages themselves bring it. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

const LICENCE = /^(licen[cs]e|copying|notice)(\b|-|_)/i
const PACKAGE = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//

/**
 * @param {string} root
 * @param {Iterable<string>} inputs files of a bundle, as esbuild's metafile names them
 * @returns {Promise<string>}
 * @throws where a package says nothing of its licence: it cannot be passed on
 */
export async function notice(root, inputs) {
  const folders = new Set([...inputs].flatMap((input) => PACKAGE.exec(input)?.[1] ?? []))
  const packages = await Promise.all([...folders].map((folder) => describe(join(root, folder))))
  // Of one that is there twice, once for each version.
  const texts = new Map(packages.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(({ name, text }) => [name, text]))
  const rule = '-'.repeat(100)
  const heading = `resthooks lleva dentro de dist/ código de estos ${texts.size} paquetes, cada uno con su licencia. La de resthooks está en LICENSE.\n`
  return [heading, ...[...texts].map(([name, text]) => `${rule}\n${name}\n${rule}\n\n${text}\n`)].join('\n')
}

/** @param {string} folder */
async function describe(folder) {
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const name = `${manifest.name} ${manifest.version} (${manifest.license})`
  const files = (await readdir(folder)).filter((file) => LICENCE.test(file) && !/\.(js|ts|map)$/.test(file)).sort()
  const texts = await Promise.all(files.map(async (file) => (await readFile(join(folder, file), 'utf8')).trim()))
  if (texts.length > 0) return { name, text: texts.join('\n\n') }
  if (typeof manifest.license !== 'string') throw new Error(`${folder} says nothing of its licence`)
  const author = typeof manifest.author === 'string' ? manifest.author : manifest.author?.name
  return { name, text: `Licencia ${manifest.license}, según su package.json.${author ? ` Autor: ${author}.` : ''}` }
}

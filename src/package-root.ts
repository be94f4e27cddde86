/**
 * Where the package lies on disk, for the files that are read at run time (`sql/`, examples).
 *
 * The same from `src/` (tests) and from `dist/chunks/` (the bundle), which sit at different depths.
 */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

let found: string | null = null

/**
 * Absolute path of the folder that holds our package.json.
 * @throws when the program was copied away from it
 */
export function packageRoot(): string {
  found ??= search(dirname(fileURLToPath(import.meta.url)))
  return found
}

function search(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    if (isOurs(join(folder, 'package.json'))) return folder
    if (folder === dirname(folder)) {
      throw new Error(`No se encuentra la carpeta de resthooks (package.json) por encima de ${start}`)
    }
  }
}

function isOurs(manifest: string): boolean {
  try {
    return JSON.parse(readFileSync(manifest, 'utf8')).name === 'resthooks'
  } catch {
    // Not there, or not readable as a manifest: the search goes on upwards and fails with its own words.
    return false
  }
}

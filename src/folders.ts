/** The two folders that the process has to know: where its package lies, and where it was started. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

let found: string | null = null

/**
 * Absolute path of the folder that holds our package.json, for the files that are read at run time (`sql/`, examples): the same
 * from `src/` (tests) and from `dist/chunks/` (the bundle), which sit at different depths.
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

/**
 * The folder that this process was started in, which somebody may delete while it runs: neither a thread nor most programs can
 * be started from a folder that is gone. Null: it was gone before this process began.
 */
export const LAUNCH_FOLDER: string | null = folderNow()

/** To be called before a thread or a process is started: back to the launch folder, also when it was made anew, else to `/`. */
export function standInLaunchFolder(): void {
  if (LAUNCH_FOLDER !== null && isHere(LAUNCH_FOLDER)) return
  try {
    process.chdir(LAUNCH_FOLDER ?? '/')
  } catch {
    process.chdir('/')
  }
}

function folderNow(): string | null {
  try {
    return process.cwd()
  } catch {
    return null
  }
}

/** By its number: a folder that was deleted and made again has the same name. */
function isHere(folder: string): boolean {
  try {
    const [here, there] = [statSync('.'), statSync(folder)]
    return here.ino === there.ino && here.dev === there.dev
  } catch {
    return false
  }
}

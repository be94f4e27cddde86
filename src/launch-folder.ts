/**
 * The folder that this process was started in, which somebody may delete while it runs: neither a thread nor most programs can
 * be started from a folder that is gone.
 */
import { statSync } from 'node:fs'

/** Null: it was gone before this process began. */
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

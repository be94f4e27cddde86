/**
 * The program under test: a copy of the build, so that a build during a run of minutes does not change it half-way, and
 * how its processes are started. Whatever the suite starts, ends with it: also on Ctrl-C, also after a failure.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CliOptions,
  type CliResult,
  copyProgram,
  runProgram,
  spawnProgram,
  unpackReleaseBefore,
  type Worker,
} from '../support/cli.ts'

export interface Program {
  run(args: readonly string[], options?: CliOptions): Promise<CliResult>
  /** Arguments after `node` for whoever spawns it otherwise. */
  readonly bin: string
  startWorker(args: readonly string[], options: CliOptions): Worker
}

/** The build as it is now. */
export async function thisRelease(): Promise<Program> {
  const folder = await ownFolder()
  await copyProgram(folder)
  return programIn(folder)
}

/** The release before this one, as it was shipped. */
export async function releaseBefore(): Promise<Program> {
  const folder = await ownFolder()
  unpackReleaseBefore(folder)
  return programIn(folder)
}

async function ownFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-caos-programa-'))
  atEnd(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function programIn(folder: string): Program {
  const bin = join(folder, 'bin/resthooks')
  return {
    bin,
    run: (args, options) => runProgram(process.execPath, [bin, ...args], options),
    startWorker: (args, options) => {
      const worker = spawnProgram(process.execPath, [bin, 'iniciar-workers', ...args], options)
      atEnd(() => worker.child.kill('SIGKILL'))
      return worker
    },
  }
}

type Ending = () => Promise<unknown> | unknown

const endings: Ending[] = []

/** Registers what ends something; @returns a function that ends it now instead. */
export function atEnd(ending: Ending): () => Promise<void> {
  endings.push(ending)
  return async () => {
    const at = endings.indexOf(ending)
    if (at < 0) return
    endings.splice(at, 1)
    await ending()
  }
}

/** Ends everything that is left, the last one first; a failing ending does not keep the others. */
export async function endAll(): Promise<void> {
  while (endings.length > 0) {
    try {
      await endings.pop()!()
    } catch {
      // It was going away anyway.
    }
  }
}

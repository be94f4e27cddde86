/**
 * The program under test: a copy of the build, so that a build during a run of minutes does not change it half-way, and
 * how its processes are started and ended.
 */
import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type CliOptions, type CliResult, runProgram, spawnProgram, type Worker } from '../support/cli.ts'
import { atEnd } from './endings.ts'

// The bundle lives elsewhere and tells paths from test/chaos/.
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export interface Program {
  run(args: readonly string[], options?: CliOptions): Promise<CliResult>
  /** Arguments after `node` for whoever spawns it otherwise. */
  readonly bin: string
  startWorker(args: readonly string[], options: CliOptions): Worker
}

export async function copyProgram(): Promise<Program> {
  const folder = await ownFolder()
  for (const part of ['bin', 'dist', 'sql', 'package.json']) {
    await cp(join(ROOT, part), join(folder, part), { recursive: true })
  }
  return programIn(folder)
}

/** The release before this one, as it was shipped. */
export async function releaseBefore(): Promise<Program> {
  const folder = await ownFolder()
  execFileSync('tar', [
    '-xzf',
    join(ROOT, 'test/fixtures/resthooks-0.1.0.tar.gz'),
    '-C',
    folder,
    '--strip-components=1',
  ])
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

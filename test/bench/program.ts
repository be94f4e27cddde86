/** A peer as a process of its own, as ours is one: started, told to go, asked, ended. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { cleanEnvironment } from '../support/cli.ts'

export interface Program {
  readonly pid: number
  /** Says something to it and waits for its answer. @throws when it ends or fails instead */
  ask<T = unknown>(word: string, data?: unknown): Promise<T>
  stop(): Promise<void>
}

/** Answers one word; what it returns goes back. */
export type Handlers = Readonly<Record<string, (data: never) => unknown>>

const folder = process.env.RESTHOOKS_PRUEBAS_PROGRAMAS ?? ''

/** Where the bundle of `peers/NAME.ts` lies. */
export function peerFile(name: string): string {
  return join(folder, 'peers', `${name}.mjs`)
}

/** Starts `peers/NAME.ts`, which calls `serve`, and gives it its configuration. */
export async function startProgram(name: string, configuration: unknown): Promise<Program> {
  const child = spawn(process.execPath, [peerFile(name), JSON.stringify(configuration)], {
    env: cleanEnvironment({ NODE_ENV: 'production' }),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const program: Program = {
    pid: child.pid!,
    ask: (word, data) => ask(child, name, word, data),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await ended
    },
  }
  try {
    await program.ask('ready')
    return program
  } catch (error) {
    await program.stop()
    throw error
  }
}

function ask<T>(child: ChildProcess, name: string, word: string, data: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const done = (settle: () => void) => {
      child.off('message', answered).off('exit', ended)
      settle()
    }
    const answered = (answer: { word: string; value?: T; error?: string }) => {
      if (answer.word !== word) return
      done(() =>
        answer.error === undefined ? resolve(answer.value as T) : reject(new Error(`${name}: ${answer.error}`)),
      )
    }
    const ended = (code: number | null) => done(() => reject(new Error(`${name} ended with code ${code}`)))
    child.on('message', answered).on('exit', ended)
    child.send({ word, data })
  })
}

/** For a peer: its configuration, as `startProgram` was given it. */
export function configuration<T>(): T {
  return JSON.parse(process.argv[2] ?? 'null')
}

/** For a peer: answers what the benchmark asks, until the benchmark is gone. */
export function serve(handlers: Handlers): void {
  const all: Readonly<Record<string, (data: never) => unknown>> = { ready: () => null, ...handlers }
  process.on('message', async ({ word, data }: { word: string; data: never }) => {
    try {
      process.send?.({ word, value: await all[word]!(data) })
    } catch (error) {
      process.send?.({ word, error: (error as Error).stack })
    }
  })
  process.on('disconnect', () => process.exit(0))
}

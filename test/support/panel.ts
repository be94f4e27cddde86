/** `resthooks panel` as a user runs it, and a visitor who speaks HTTP to it. */

import { BIN, spawnProgram } from './cli.ts'
import { freePort } from './ports.ts'
import { until } from './until.ts'
import type { World } from './world.ts'

export interface RunningPanel {
  /** With the prefix and a slash at its end. */
  readonly url: string
  /** What it printed so far. */
  readonly output: string
  /** The newest address of one use. */
  key(): string
  stop(): Promise<void>
  readonly pid: number
}

/** Ends with `stop`. */
export async function startPanel(
  { environment, folder }: Pick<World, 'environment' | 'folder'>,
  args: readonly string[] = [],
  { env = {}, node = process.execPath }: { env?: Readonly<Record<string, string>>; node?: string } = {},
): Promise<RunningPanel> {
  const direccion = args.includes('--direccion') ? [] : ['--direccion', `127.0.0.1:${await freePort()}`]
  const program = spawnProgram(node, [BIN, 'panel', ...direccion, ...args], {
    env: { ...environment, ...env },
    cwd: folder,
  })
  const started = await until(
    () => /Página en (\S+)/.exec(program.output) ?? (program.child.exitCode !== null ? 'ended' : undefined),
    { timeout: 20_000, what: 'the page' },
  )
  if (started === 'ended') throw new Error(`the page did not start:\n${program.output}`)
  return {
    url: started[1]!,
    get output() {
      return program.output
    },
    key: () => [...program.output.matchAll(/#llave=(\S+)/g)].at(-1)![1]!,
    stop: async () => {
      program.kill('SIGTERM')
      await program.waitExit()
    },
    pid: program.child.pid!,
  }
}

export interface Answer<T = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: T
}

/** A browser's cookies and headers, without the browser. */
export class Visitor {
  readonly #url: string
  #cookie = ''

  constructor(url: string) {
    this.#url = url
  }

  get cookie(): string {
    return this.#cookie
  }

  async ask<T = unknown>(path: string, init: RequestInit = {}): Promise<Answer<T>> {
    const headers = { ...(this.#cookie ? { cookie: this.#cookie } : {}), ...(init.headers as Record<string, string>) }
    const response = await fetch(new URL(path, this.#url), { redirect: 'manual', ...init, headers })
    const set = response.headers.getSetCookie().at(-1)
    if (set) this.#cookie = set.split(';')[0]!
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: parsed(text) as T }
  }

  post<T = unknown>(path: string, body: unknown = {}, headers: Record<string, string> = {}): Promise<Answer<T>> {
    return this.ask<T>(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin', ...headers },
      body: JSON.stringify(body),
    })
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

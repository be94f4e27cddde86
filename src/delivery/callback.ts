/**
 * Runs one `on_success` or `on_failure`: a program or a POST. `evento:` is the worker's own.
 *
 * A callback is other people's code: it may hang, flood its output, fork, or leave children that hold our pipes. It is
 * given its time, its 4 KB, and no secret of ours.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import type { CallbackTarget } from '../config/listener-kinds.ts'
import { systemReason } from '../errors.ts'
import { standInLaunchFolder } from '../folders.ts'
import { blockList, headerText } from '../model/http.ts'
import type { Bytes, Millis } from '../model/message.ts'
import { secureContext } from './connect.ts'
import { Deadline, type StopSignal } from './deadline.ts'
import { exchange } from './exchange.ts'
import { classify, reasonOf } from './outcome.ts'
import { Sockets } from './sockets.ts'

/** How long a callback may take. */
const CALLBACK_LIMIT: Millis = 30_000

interface CallbackInput {
  /** Becomes `webhook-id`. */
  readonly id: string
  /** The outcome, for stdin or as the body. */
  readonly json: Buffer | string
  /** `RESTHOOKS_*`; other names are not passed on. */
  readonly variables: Readonly<Record<string, string>>
}

type CallbackOutcome =
  | { readonly ok: true; readonly detail: string | null }
  /** `final`: to try again is useless. `unable`: it was not even tried, this process or machine has no means left. */
  | { readonly ok: false; readonly detail: string; readonly final: boolean; readonly unable?: boolean }

/**
 * Never throws for what the target does.
 * @param about.signal ends it early: the whole process group, or the request
 * @param about.limit  for tests
 */
export async function runCallback(
  spec: Exclude<CallbackTarget, { kind: 'event' }>,
  input: CallbackInput,
  about: { readonly version: string; readonly signal: StopSignal; readonly limit?: Millis },
): Promise<CallbackOutcome> {
  const limit = about.limit ?? CALLBACK_LIMIT
  if (spec.kind === 'exec') return runProgram(spec.argv, input, about.signal, limit)
  return post(spec.url, input, about.version, about.signal, limit)
}

/** Output kept, of both streams together; the rest is read and dropped, so that the program does not block. */
const MAX_OUTPUT: Bytes = 4096
/** Between SIGTERM and SIGKILL. */
const GRACE: Millis = 2000
/** After the exit, how long the rest of the output may take. */
const LAST_OUTPUT: Millis = 200
/** What a program needs to run; everything else in our environment may be a secret. */
const INHERITED = /^(PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR)$/

/**
 * No shell, and a process group of its own, killed whole when its time is up. The end is the program's exit and not the end of
 * its pipes: a grandchild may hold those for as long as it likes.
 */
function runProgram(
  argv: readonly string[],
  input: CallbackInput,
  signal: StopSignal,
  limit: Millis,
): Promise<CallbackOutcome> {
  const [program = '', ...args] = argv
  if (signal.aborted) return Promise.resolve(failed('interrumpido antes de empezar'))
  let child: ChildProcess
  try {
    standInLaunchFolder()
    child = spawn(program, args, { detached: true, stdio: 'pipe', env: environment(input.variables) })
  } catch (error) {
    // An argument with a NUL byte and the like.
    return Promise.resolve(unstarted(program, error as NodeJS.ErrnoException))
  }
  return watch(child, program, input, signal, limit)
}

function watch(
  child: ChildProcess,
  program: string,
  input: CallbackInput,
  signal: StopSignal,
  limit: Millis,
): Promise<CallbackOutcome> {
  return new Promise((resolve) => {
    const output = keepOutput(child)
    let stopped: string | null = null
    const stop = (why: string) => {
      if (stopped !== null || child.pid === undefined) return
      stopped = why
      void killGroup(child.pid).then(() => {
        // Gone or beyond our reach (uninterruptible sleep): either way this attempt is over.
        finish(failed(`${why}; se terminó a la fuerza${output.suffix()}`))
      })
    }
    const timer = setTimeout(() => stop(`no terminó en ${limit / 1000} s`), limit)
    const aborted = { handleEvent: () => stop('interrumpido') }
    signal.addEventListener('abort', aborted)

    const finish = (result: CallbackOutcome) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', aborted)
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream?.destroy()
      child.unref()
      resolve(result)
    }
    child.on('error', (error) => {
      if (child.pid === undefined) finish(unstarted(program, error))
    })
    child.on('exit', (code, killedBy) => {
      if (stopped !== null) return
      const end = () =>
        finish(code === 0 ? { ok: true, detail: output.text() } : failed(`${ending(code, killedBy)}${output.suffix()}`))
      const late = setTimeout(end, LAST_OUTPUT)
      child.once('close', () => {
        clearTimeout(late)
        end()
      })
    })
    // A program that does not read its input is none the worse for it (EPIPE).
    child.stdin?.on('error', () => {})
    child.stdin?.end(input.json)
  })
}

function failed(detail: string): CallbackOutcome {
  return { ok: false, detail, final: false }
}

/** No descriptors, processes or memory for it: that is not the program's doing. */
const NO_MEANS = /^(EMFILE|ENFILE|EAGAIN|ENOMEM)$/

function unstarted(program: string, error: NodeJS.ErrnoException): CallbackOutcome {
  const unable = NO_MEANS.test(error.code ?? '')
  return { ...failed(spawnProblem(program, error)), ...(unable ? { unable } : {}) }
}

function environment(variables: Readonly<Record<string, string>>): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && INHERITED.test(name)) env[name] = value
  }
  for (const [name, value] of Object.entries(variables)) {
    if (name.startsWith('RESTHOOKS_')) env[name] = value.replaceAll('\0', '')
  }
  return env
}

interface Output {
  /** Null when it wrote nothing. */
  text(): string | null
  /** `: text`, or nothing. */
  suffix(): string
}

function keepOutput(child: ChildProcess): Output {
  const chunks: Buffer[] = []
  let size = 0
  const take = (chunk: Buffer) => {
    const room = MAX_OUTPUT - size
    if (room <= 0) return
    chunks.push(Buffer.from(chunk.subarray(0, room)))
    size += Math.min(room, chunk.length)
  }
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', take).on('error', () => {})
  const text = () => Buffer.concat(chunks).toString('utf8').replaceAll('\0', '').trim() || null
  return {
    text,
    suffix: () => {
      const said = text()
      return said === null ? '' : `: ${said}`
    },
  }
}

/** SIGTERM to the group, SIGKILL to what of it is left after the grace time. */
async function killGroup(pid: number): Promise<void> {
  send(pid, 'SIGTERM')
  const end = Date.now() + GRACE
  while (Date.now() < end) {
    if (!send(pid, 0)) return
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  send(pid, 'SIGKILL')
}

/** @returns whether the group has a process left */
function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function ending(code: number | null, killedBy: NodeJS.Signals | null): string {
  return code === null ? `terminado por ${killedBy}` : `código de salida ${code}`
}

function spawnProblem(program: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return `"${program}" no existe (o no existe el intérprete de su primera línea)`
    case 'EACCES':
      return `"${program}" no se puede ejecutar: falta el permiso (chmod +x) o el de alguna de sus carpetas`
    case 'ENOEXEC':
      return `"${program}" no es un programa: ¿falta la primera línea #!/bin/sh?`
    default:
      return `no se pudo ejecutar "${program}": ${systemReason(error) ?? error.message}`
  }
}

const CONNECT: Millis = 5000
const NO_RULES = { retryIf: [], noRetryIf: [] }

/** 2xx is success; what the default rule calls a rejection of the content is final. */
async function post(
  address: string,
  input: CallbackInput,
  version: string,
  signal: StopSignal,
  limit: Millis,
): Promise<CallbackOutcome> {
  const url = new URL(address)
  const headers = ['Content-Type', 'application/json', 'User-Agent', `resthooks/${version}`]
  headers.push('webhook-id', headerText(input.id), 'webhook-timestamp', String(Math.floor(Date.now() / 1000)))
  const dialing = {
    connectTimeout: Math.min(CONNECT, limit),
    // The target comes from the configuration alone: the owner may name any host of the network.
    blocked: blockList([]),
    context: secureContext({ ca: null, client: null }, false),
    session: undefined,
  }
  const sockets = new Sockets(url.origin, dialing, 0)
  const slot = sockets.take()
  const deadline = new Deadline(limit, signal, 'el tiempo de un callback')
  try {
    const wire = { method: 'POST', target: url.pathname + url.search, headers, body: Buffer.from(input.json) }
    const { status, trouble } = await exchange(slot, wire, 4096, deadline)
    const answer = { status, error: trouble?.error ?? null, detail: trouble?.detail ?? null, retryAfter: null }
    const outcome = classify(answer, NO_RULES, Date.now())
    if (outcome.kind === 'success') return { ok: true, detail: reasonOf(answer) }
    if (outcome.kind === 'unable') return { ok: false, detail: outcome.reason, final: false, unable: true }
    return { ok: false, detail: outcome.reason, final: outcome.kind === 'failure' }
  } finally {
    deadline.clear()
    sockets.giveBack(slot)
  }
}

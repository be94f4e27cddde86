/** Asks the server. What does not answer is told on top of the page by whoever listens (`onTrouble`). */
import type { Refusal } from '../wire.ts'

export class Refused extends Error {
  readonly status: number
  readonly body: Refusal

  constructor(status: number, body: Refusal) {
    super(body.error)
    this.status = status
    this.body = body
  }
}

export type Trouble = { readonly what: 'redis' | 'postgres' | 'pagina'; readonly text: string }

type Listener = (what: Trouble['what'], text: string | null) => void
let tell: Listener = () => {}

/** @param listener what is away, or (`text` null) answered again */
export function onTrouble(listener: Listener): void {
  tell = listener
}

/** Part of what was asked for is missing. */
export function trouble({ falta, aviso }: { readonly falta?: 'redis' | 'postgres'; readonly aviso?: string }): void {
  if (falta) tell(falta, aviso ?? '')
}

/** @throws Refused */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return ask<T>(path, { headers: { accept: 'application/json' }, ...(signal ? { signal } : {}) })
}

/** @throws Refused */
export async function post<T>(path: string, body: unknown = {}): Promise<T> {
  return ask<T>(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
}

async function ask<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response
  try {
    response = await fetch(`api/${path}`, init)
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
    const text = 'La página no responde: puede haberse detenido «resthooks panel», o estar cortada la red.'
    tell('pagina', text)
    throw new Refused(0, { error: text })
  }
  tell('pagina', null)
  if (response.status === 204) return undefined as T
  const body = await response.json().catch(() => ({ error: `El servidor respondió ${response.status}.` }))
  if (response.ok) {
    trouble(body as object)
    return body as T
  }
  const refusal = body as Refusal
  if (refusal.falta) tell(refusal.falta, refusal.error)
  throw new Refused(response.status, refusal)
}

/** Whether what was away answers again. */
export async function lookAgain(): Promise<void> {
  try {
    const response = await fetch('salud')
    const { redis, postgres } = (await response.json()) as Record<'redis' | 'postgres', { ok: boolean }>
    tell('pagina', null)
    if (redis.ok) tell('redis', null)
    if (postgres.ok) tell('postgres', null)
  } catch {
    // Still away: it was told.
  }
}

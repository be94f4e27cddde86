/** POSTs a callback's JSON. 2xx is success; what the default rule calls a rejection of the content is final. */

import { blockList, headerText } from '../model/http.ts'
import type { Millis } from '../model/message.ts'
import { basic } from './auth/basic.ts'
import type { CallbackInput, CallbackOutcome } from './callback.ts'
import { secureContext } from './connect.ts'
import { Deadline } from './deadline.ts'
import { exchange } from './exchange.ts'
import { classify, reasonOf } from './outcome.ts'
import { Sockets } from './sockets.ts'
import type { StopSignal } from './stop-signal.ts'

const CONNECT: Millis = 5000
const NO_RULES = { retryIf: [], noRetryIf: [] }

export async function post(
  address: string,
  input: CallbackInput,
  version: string,
  signal: StopSignal,
  limit: Millis,
): Promise<CallbackOutcome> {
  const url = new URL(address)
  const headers = ['Content-Type', 'application/json', 'User-Agent', `resthooks/${version}`]
  headers.push('webhook-id', headerText(input.id), 'webhook-timestamp', String(Math.floor(Date.now() / 1000)))
  if (url.username !== '') {
    headers.push(...basic(decodeURIComponent(url.username), decodeURIComponent(url.password)).credentials().headers)
  }
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

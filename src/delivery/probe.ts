/**
 * One real request outside the queue, with everything that a person wants to see of it.
 *
 * The request is the deliverer's own, so that what works here works in the worker; DNS and TLS are looked at besides.
 */
import type { ListenerConfig } from '../config/config.ts'
import { blockList, isBlocked } from '../model/http.ts'
import type { Message } from '../model/message.ts'
import type { Secrets } from '../model/secrets.ts'
import { type Endpoint, endpointOf } from './connect.ts'
import type { Judgement, RequestRecord } from './delivery.ts'

import { diagnose } from './diagnose.ts'
import { createDeliverer } from './http.ts'
import { resolve } from './names.ts'
import { inspectTls, type TlsInspection } from './tls-inspection.ts'
import { errorDetail } from './trouble.ts'

/** Marks the request as a trial, for receivers that want to tell. */
export const PROBE_HEADER = 'X-Resthooks-Prueba'

export interface ProbeReport {
  readonly names: NameReport
  /** Null for http, and when the name gave no address that may be used. */
  readonly tls: TlsInspection | null
  readonly requests: readonly RequestRecord[]
  readonly outcome: Judgement
  /** What is wrong and what to change, in one Spanish sentence. */
  readonly diagnosis: string
}

export interface NameReport {
  readonly host: string
  readonly addresses: readonly { readonly address: string; readonly blocked: boolean }[]
  readonly error: string | null
}

/** Never throws for what the listener or its network does. */
export async function probe(
  listener: ListenerConfig,
  message: Message,
  about: { readonly version: string; readonly secrets: Secrets; readonly signal: AbortSignal },
): Promise<ProbeReport> {
  const endpoint = endpointOf(listener.url)
  const marked = { ...listener, headers: [...listener.headers, [PROBE_HEADER, '1'] as const] }
  const deliverer = createDeliverer(marked, about)
  try {
    const names = await lookUp(endpoint.host, listener.blockedNetworks)
    const tls = await lookAtTls(endpoint, names, listener)
    const { requests, outcome } = await deliverer.attempt(message, 1, about.signal)
    const last = requests.at(-1)!
    const hasClientCertificate = listener.tls.client !== null
    const text = last.responseBody?.subarray(0, 2000).toString('latin1') ?? ''
    return {
      names,
      tls,
      requests,
      outcome,
      diagnosis: diagnose({ ...last, text }, { ...listener, hasClientCertificate }),
    }
  } finally {
    await deliverer.close()
  }
}

/** The addresses of a host and whether each may be used. Never throws. */
export async function lookUp(host: string, blockedNetworks: readonly string[]): Promise<NameReport> {
  try {
    const blocked = blockList(blockedNetworks)
    const addresses = await resolve(host)
    return {
      host,
      addresses: addresses.map(({ address }) => ({ address, blocked: isBlocked(blocked, address) })),
      error: null,
    }
  } catch (error) {
    return { host, addresses: [], error: errorDetail(error) }
  }
}

/** TLS of the first address that may be used. Never throws. */
export async function lookAtTls(
  endpoint: Endpoint,
  names: NameReport,
  listener: Pick<ListenerConfig, 'tls' | 'connectTimeout'>,
): Promise<TlsInspection | null> {
  const first = names.addresses.find(({ blocked }) => !blocked)
  if (!endpoint.tls || first === undefined) return null
  return inspectTls(endpoint, first.address, listener.tls, listener.connectTimeout)
}

/**
 * Host names to addresses, through the system's resolver (so /etc/hosts and nsswitch count), kept for some seconds.
 *
 * One lookup a name at a time for the whole process: `getaddrinfo` runs on a pool of four threads, and one name whose
 * DNS hangs must take one of them, not all, or every other listener would wait behind it.
 */
import { type LookupAddress, lookup } from 'node:dns'
import { isIP } from 'node:net'
import type { Millis } from '../message.ts'

/** Long enough for a burst of new sockets, short enough to follow a name that moves. */
const KEPT: Millis = 10_000
const MAX_NAMES = 1000

const known = new Map<string, { readonly addresses: readonly LookupAddress[]; readonly until: number }>()
const running = new Map<string, Promise<readonly LookupAddress[]>>()

/** Every address of a host, in the resolver's order; an address literal is its own. @throws the resolver's error */
export function resolve(host: string): Promise<readonly LookupAddress[]> {
  const family = isIP(host)
  if (family !== 0) return Promise.resolve([{ address: host, family }])
  const kept = known.get(host)
  if (kept !== undefined && Date.now() < kept.until) return Promise.resolve(kept.addresses)
  const existing = running.get(host)
  if (existing !== undefined) return existing
  const started = new Promise<readonly LookupAddress[]>((done, failed) => {
    lookup(host, { all: true, verbatim: true }, (error, addresses) => {
      running.delete(host)
      if (error !== null) return failed(error)
      if (known.size >= MAX_NAMES) known.clear()
      known.set(host, { addresses, until: Date.now() + KEPT })
      done(addresses)
    })
  })
  running.set(host, started)
  return started
}

/** To be called when connecting failed: the name may have moved. */
export function forget(host: string): void {
  known.delete(host)
}

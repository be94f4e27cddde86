/**
 * Ids made here are ULIDs: ordered by time (also within one millisecond of one process), so a partition can be found
 * from the id.
 */
import { randomFillSync } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { monotonicFactory } from 'ulid'

/** Randomness is drawn 4 KB at a time: one system call for each of an id's sixteen digits cost more than a delivery. */
const pool = new Uint8Array(4096)
let used = pool.length

export const newId: () => string = monotonicFactory(() => {
  if (used === pool.length) {
    fill(pool)
    used = 0
  }
  return pool[used++]! / 256
})

/** From the system itself: `send` makes one id, and OpenSSL takes a tenth of its time to start. */
function fill(bytes: Uint8Array): void {
  let source: number
  try {
    source = openSync('/dev/urandom', 'r')
  } catch {
    randomFillSync(bytes)
    return
  }
  try {
    if (readSync(source, bytes) !== bytes.length) randomFillSync(bytes)
  } finally {
    closeSync(source)
  }
}

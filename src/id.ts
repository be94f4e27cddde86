/**
 * Ids made here are ULIDs: ordered by time (also within one millisecond of one process), so a partition can be found
 * from the id.
 */
import { randomFillSync } from 'node:crypto'
import { monotonicFactory } from 'ulid'

/** Randomness is drawn 4 KB at a time: one system call for each of an id's sixteen digits cost more than a delivery. */
const pool = new Uint8Array(4096)
let used = pool.length

export const newId: () => string = monotonicFactory(() => {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  return pool[used++]! / 256
})

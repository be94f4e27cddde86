/** Cutting lists: what one statement, one script or one batch holds is bounded by number and by bytes. */
import type { Bytes } from './message.ts'

/**
 * Parts of at most `count` items and about `bytes` bytes each; one item may be larger by itself.
 * @param size bytes of an item, roughly
 */
export function* parts<Item>(
  items: readonly Item[],
  count: number,
  bytes: Bytes = Number.POSITIVE_INFINITY,
  size: (item: Item) => Bytes = () => 0,
): Generator<Item[], void> {
  let part: Item[] = []
  let total = 0
  for (const item of items) {
    const more = size(item)
    if (part.length > 0 && (part.length >= count || total + more > bytes)) {
      yield part
      part = []
      total = 0
    }
    part.push(item)
    total += more
  }
  if (part.length > 0) yield part
}

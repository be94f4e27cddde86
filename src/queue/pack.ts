/**
 * The arguments of the workers' scripts as one MessagePack value a call, which Redis's Lua reads in C: many short arguments took
 * longer to write and to read than what they stand for. Apart from the queue, since `send` would load it in vain.
 */
import { Packr } from 'msgpackr/pack'

const packr = new Packr({ useRecords: false })

export type Packable = string | number | boolean | null | readonly Packable[]

/** No bytes: the Lua of Redis does not read MessagePack's. Those are arguments of their own. */
export function pack(value: Packable): Buffer {
  return packr.pack(value)
}

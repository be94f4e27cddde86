/** Whatever the suite starts, ends with it: also on Ctrl-C, also after a failure. */
type Ending = () => Promise<unknown> | unknown

const endings: Ending[] = []

/** Registers what ends something; @returns a function that ends it now instead. */
export function atEnd(ending: Ending): () => Promise<void> {
  endings.push(ending)
  return async () => {
    const at = endings.indexOf(ending)
    if (at < 0) return
    endings.splice(at, 1)
    await ending()
  }
}

/** Ends everything that is left, the last one first; a failing ending does not keep the others. */
export async function endAll(): Promise<void> {
  while (endings.length > 0) {
    try {
      await endings.pop()!()
    } catch {
      // It was going away anyway.
    }
  }
}

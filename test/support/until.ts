/** Waiting for a condition instead of for a time. */

/**
 * Calls `condition` until it returns something truthy, and returns that.
 * @throws when `timeout` ms pass first, with the last error of the condition or its last value
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { timeout = 30_000, every = 20, what = 'condition' }: { timeout?: number; every?: number; what?: string } = {},
): Promise<NonNullable<T>> {
  const end = Date.now() + timeout
  let last: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value) return value
      last = value
    } catch (error) {
      last = error
    }
    if (Date.now() > end) {
      const cause = last instanceof Error ? last : undefined
      throw new Error(`${what} did not hold within ${timeout} ms (last: ${cause?.message ?? JSON.stringify(last)})`, {
        cause,
      })
    }
    await new Promise((resolve) => setTimeout(resolve, every))
  }
}

/** What a machine lacks for the tests or the demo, as one sentence with the way out: whoever reads it wrote none of this. */

export class SetUpError extends Error {
  override readonly name = 'SetUpError'
}

/**
 * Runs what sets up; where the machine is what is wrong, says so without a stack and ends this process.
 * @throws whatever else `work` throws
 */
export async function orSayWhy<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  }
}

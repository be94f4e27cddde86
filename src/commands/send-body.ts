/** DATOS of `send`: where it is read from, and whether it is JSON. The bytes stay as they are. */
import { readFileSync } from 'node:fs'
import { UsageError } from '../errors.ts'

/** @throws UsageError when a named file cannot be read */
export async function readBody(data: string | undefined): Promise<{ body: Buffer; given: boolean }> {
  if (data === undefined) return { body: Buffer.alloc(0), given: false }
  if (data === '-') return { body: await readAll(process.stdin), given: true }
  if (data.startsWith('@')) {
    const file = data.slice(1)
    try {
      return { body: readFileSync(file), given: true }
    } catch (error) {
      throw new UsageError(`no se puede leer DATOS de ${file}: ${(error as Error).message}`, { cause: error })
    }
  }
  return { body: Buffer.from(data, 'utf8'), given: true }
}

async function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** @throws UsageError when the bytes are not one JSON document in UTF-8 */
export function checkJson(body: Buffer): void {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body))
  } catch (error) {
    const why = error instanceof SyntaxError ? error.message : 'no es texto UTF-8'
    throw new UsageError(
      `DATOS no es JSON (${why}); si es otra cosa, indique --tipo-contenido (por ejemplo text/plain)`,
      { cause: error },
    )
  }
}

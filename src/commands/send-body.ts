/** DATOS of `send`: where it is read from, and whether it is JSON. The bytes stay as they are. */
import { readFileSync } from 'node:fs'
import { systemReason, UsageError } from '../errors.ts'
import { isJsonType } from '../queue/envelope-write.ts'

/** @throws UsageError when a named file cannot be read */
export async function readBody(data: string | undefined): Promise<{ body: Buffer; given: boolean }> {
  if (data === undefined) return { body: Buffer.alloc(0), given: false }
  if (data === '-') return { body: await readAll(process.stdin), given: true }
  if (data.startsWith('@')) {
    const file = data.slice(1)
    try {
      return { body: readFileSync(file), given: true }
    } catch (error) {
      throw new UsageError(`no se puede leer DATOS de ${file}: ${systemReason(error) ?? error}`, { cause: error })
    }
  }
  return { body: Buffer.from(data, 'utf8'), given: true }
}

async function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}

/** Whether DATOS of this type have to be JSON. One that names another encoding than JSON's own is bytes, and the sender's business. */
export function mustBeJson(contentType: string): boolean {
  return isJsonType(contentType) && !/;\s*charset\s*=\s*"?(?!utf-?8\b)/i.test(contentType)
}

/** @throws UsageError when the bytes are not one JSON document in UTF-8 */
export async function requireJson(body: Buffer): Promise<void> {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body))
  } catch (error) {
    const { jsonProblem } = await import('../queue/envelope-json.ts')
    throw new UsageError(notJson('DATOS', jsonProblem(body), '--tipo-contenido'), { cause: error })
  }
}

/** @param otherwise where it can be said that it is something else */
export function notJson(what: string, problem: string, otherwise: string): string {
  return `${what} no es JSON: ${problem}. Si es otra cosa, indique ${otherwise} (por ejemplo text/plain)`
}

/** What went over the wire, for people: bodies (text as text, JSON indented, the rest as a hex dump), and the names of the phases. */
import { isUtf8 } from 'node:buffer'
import { visible } from './secrets.ts'

/** Indenting more than this is of no use to anybody. */
const LARGEST_INDENTED = 1024 * 1024
/** Each level indents all that is within it: what is nested deeper would take many times its size. */
const DEEPEST_INDENTED = 100
const DUMPED = 256

/** The body as text, decoded by its charset (UTF-8 when it names none); null when it is none. */
export function bodyText(body: Buffer, contentType: string | null): string | null {
  if (body.includes(0)) return null
  const charset = /charset="?([\w-]+)/i.exec(contentType ?? '')?.[1]
  if (isUtf8(body)) return body.toString('utf8')
  if (!charset || /^utf-?8$/i.test(charset)) return null
  try {
    return new TextDecoder(charset, { fatal: true }).decode(body)
  } catch {
    // A charset nobody knows, or bytes that are not of it: shown as bytes.
    return null
  }
}

/**
 * The body as lines to print.
 *
 * JSON is indented token by token, so that long numbers, escapes and repeated keys stay as they were sent.
 */
export async function bodyLines(body: Buffer, contentType: string | null): Promise<string[]> {
  if (body.length === 0) return ['(vacío)']
  const text = bodyText(body, contentType)
  if (text === null) return [...hexDump(body, DUMPED), '(binario: entero, en base64, con --json)']
  return visible(await indented(text)).split('\n')
}

/** Where it is JSON; to the letter otherwise. */
export async function indented(text: string): Promise<string> {
  if (text.length > LARGEST_INDENTED || !/^\s*[[{]/.test(text) || isDeep(text)) return text
  try {
    JSON.parse(text)
  } catch {
    return text
  }
  const { applyEdits, format } = await import('jsonc-parser')
  return applyEdits(text, format(text, undefined, { insertSpaces: true, tabSize: 2, eol: '\n' }))
}

function isDeep(text: string): boolean {
  let depth = 0
  for (const [part] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/gs)) {
    if (part === '[' || part === '{') depth += 1
    else if (part === ']' || part === '}') depth -= 1
    if (depth > DEEPEST_INDENTED) return true
  }
  return false
}

/** @param most bytes of it */
export function hexDump(body: Buffer, most: number): string[] {
  const lines: string[] = []
  for (let offset = 0; offset < Math.min(body.length, most); offset += 16) {
    const row = body.subarray(offset, Math.min(offset + 16, most))
    const bytes = [...row].map((byte) => hex(byte, 2)).join(' ')
    const letters = row.toString('latin1').replace(/[^\x20-\x7e]/g, '.')
    lines.push(`${hex(offset, 8)}  ${bytes.padEnd(47)}  ${letters}`)
  }
  if (body.length > most) lines.push(`… y ${body.length - most} bytes más`)
  return lines
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, '0')
}

type Headers = Readonly<Record<string, string | readonly string[]>>

/** The first one, where a server names several. */
export function contentTypeOf(headers: Headers | null): string | null {
  return [headers?.['content-type'] ?? null].flat()[0] ?? null
}

const PHASES: Readonly<Record<string, string>> = {
  dns: 'DNS',
  conexion: 'conexión',
  tls: 'TLS',
  primer_byte: 'primer byte',
}

export function phaseText(name: string): string {
  return PHASES[name] ?? name
}

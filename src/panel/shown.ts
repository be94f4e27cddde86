/**
 * The cleaner of all that goes to the browser: secrets are replaced by value, what could turn the order of a text is escaped.
 * (The browser puts it in as text, never as markup.)
 */
import { createHash } from 'node:crypto'
import { type Secrets, visible } from '../model/secrets.ts'
import { bodyText, hexDump, indented } from '../model/wire-text.ts'
import { shellWord } from '../model/words.ts'
import type { Body, Pairs } from './wire.ts'

export function clean(text: string, secrets: Secrets): string {
  return visible(secrets.hide(text))
}

/** What a page can show of a text without trouble; the rest is downloaded. */
const LONGEST_SHOWN = 256 * 1024

export async function shownBody(
  body: Buffer | null,
  type: string | null,
  secrets: Secrets,
  allowed: boolean,
): Promise<Body | null> {
  if (body === null) return null
  const facts = {
    bytes: body.length,
    tipo: clean(type ?? 'sin tipo', secrets),
    sha256: createHash('sha256').update(body).digest('hex'),
  }
  if (!allowed) return { ...facts, texto: null, cortado: false, oculto: true }
  const text = bodyText(body, type)
  if (text === null) return { ...facts, texto: null, cortado: false, oculto: false }
  const shown = clean(await indented(text), secrets)
  const cortado = shown.length > LONGEST_SHOWN
  return { ...facts, texto: cortado ? shown.slice(0, LONGEST_SHOWN) : shown, cortado, oculto: false }
}

/** Without secrets. */
export function shownBytes(body: Buffer, secrets: Secrets): string {
  return hexDump(secrets.hideBytes(body), 4096).join('\n')
}

export function shownHeaders(
  headers: Readonly<Record<string, string | readonly string[]>> | null,
  secrets: Secrets,
): Pairs {
  return Object.entries(headers ?? {}).flatMap(([name, value]) =>
    [value].flat().map((one) => [clean(name, secrets), clean(String(one), secrets)] as const),
  )
}

/** The request for a shell, its secrets as `***`: whoever runs it puts them in. */
export function curlOf(request: {
  metodo: string
  url: string
  cabeceras: Pairs
  body: Buffer | null
  type: string | null
}): string {
  const lines = [`curl -i -X ${shellWord(request.metodo)} ${shellWord(request.url)}`]
  for (const [name, value] of request.cabeceras) {
    // curl counts for itself.
    if (!/^(?:content-length|host|connection|transfer-encoding)$/i.test(name))
      lines.push(`-H ${shellWord(`${name}: ${value}`)}`)
  }
  const text =
    request.body && request.body.length > 0 && request.body.length <= LONGEST_CURL ? bodyText(request.body, null) : null
  if (text !== null) lines.push(`--data-binary ${shellWord(text)}`)
  else if (request.body && request.body.length > 0) lines.push('--data-binary @cuerpo.bin')
  return lines.join(' \\\n  ')
}

const LONGEST_CURL = 64 * 1024

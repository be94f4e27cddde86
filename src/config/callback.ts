/**
 * `on_success` and `on_failure`: what is run, called or sent when a delivery ends (INTERFACE §2).
 */
import * as v from 'valibot'
import type { CallbackTarget } from './config.ts'
import { type Kind, kind } from './kinds.ts'
import { httpUrl } from './url.ts'

export const EVENT_NAME = /^[^\s,*\p{Cc}]{1,200}$/u

export const callback: Kind<CallbackTarget> = kind(
  '«exec:/ruta/programa argumentos», «https://…» o «evento:nombre»',
  v.pipe(
    v.string(),
    v.trim(),
    v.transform(parseCallback),
    v.check((spec) => spec !== null),
    v.transform((spec) => spec as CallbackTarget),
  ),
)

function parseCallback(text: string): CallbackTarget | null {
  if (/^https?:/i.test(text)) {
    const url = httpUrl.read([text])
    return url.ok ? { kind: 'http', url: url.value } : null
  }
  const [, scheme, rest] = /^(exec|evento):\s*(.*)$/s.exec(text) ?? []
  if (scheme === 'evento') return EVENT_NAME.test(rest!) ? { kind: 'event', event: rest! } : null
  if (scheme !== 'exec') return null
  const argv = splitArguments(rest!)
  return argv?.[0] ? { kind: 'exec', argv } : null
}

/**
 * Words as a POSIX shell would split them: blanks separate, '…' is literal, "…" knows `\"` and `\\`, a backslash outside
 * quotes makes the next character literal. Nothing is expanded: there is no shell.
 * @returns null when a quote does not close
 */
export function splitArguments(text: string): string[] | null {
  const words: string[] = []
  let word: string | null = null
  let at = 0
  while (at < text.length) {
    const char = text[at]!
    if (/\s/.test(char)) {
      if (word !== null) words.push(word)
      word = null
      at++
    } else if (char === '\\' && at + 1 < text.length) {
      word = (word ?? '') + text[at + 1]
      at += 2
    } else if (char === '"' || char === "'") {
      const quoted = (char === '"' ? /^"((?:\\.|[^"\\])*)"/s : /^'([^']*)'/).exec(text.slice(at))
      if (quoted === null) return null
      const inside = quoted[1]!
      word = (word ?? '') + (char === '"' ? inside.replace(/\\(["\\])/g, '$1') : inside)
      at += quoted[0].length
    } else {
      word = (word ?? '') + char
      at++
    }
  }
  if (word !== null) words.push(word)
  return words
}

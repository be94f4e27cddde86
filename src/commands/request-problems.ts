/** What a message may not say about its request, told at `send` and not at the delivery. */
import type { ListenerConfig } from '../config/config.ts'
import { authHeader } from '../config/listener.ts'
import { checkHeader, checkMessageHeaders, checkMethod, checkPath } from '../model/http.ts'

export interface RequestWishes {
  readonly path: string | null
  readonly method: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly contentType: string
}

/** @returns one Spanish sentence a problem, none when all is well */
export function requestProblems(wishes: RequestWishes, listeners: Iterable<ListenerConfig>): string[] {
  const authHeaders = [...listeners].map(({ auth }) => authHeader(auth))
  const problems = [
    wishes.path === null ? null : checkPath(wishes.path),
    wishes.method === null ? null : checkMethod(wishes.method),
    wishes.contentType === '' ? null : checkHeader('Content-Type', wishes.contentType),
    ...[null, ...authHeaders].map((header) => checkMessageHeaders(wishes.headers, header)),
  ].filter((problem): problem is string => problem !== null)
  return [...new Set(problems)]
}

/** An api key in the query, as toba servers read it, or in a header. */
import type { Auth } from './auth.ts'

export function apiKey(key: string, place: { readonly in: 'query' | 'header'; readonly name: string }): Auth {
  const credentials =
    place.in === 'query'
      ? { headers: [], query: `${encodeURIComponent(place.name)}=${encodeURIComponent(key)}` }
      : { headers: [place.name, key], query: null }
  return { credentials: () => credentials }
}

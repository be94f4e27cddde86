/**
 * The search box: what `auditoria` understands as options, on one line (`proveedor 7 listener:diaguita estado:fallida ayer`),
 * becomes the same filters, and chips that a person can take away one by one. Pure.
 *
 * Beside `nombre:valor`, a word that can only be one thing is that thing: a state, a listener's name, a message's id, a day, a
 * span of time, an event's pattern. The rest is text to be looked for. Quotes keep a word what it is: text.
 */
import type { DeliveryStateName } from '../audit/event.ts'
import type { DeliveryFilters } from '../audit/queries.ts'
import { UsageError } from '../errors.ts'
import { parseInstant } from '../model/instant.ts'
import { suggestion } from '../model/nearest.ts'
import { shortTime, zoneOf } from '../model/words.ts'
import type { Chip } from './wire.ts'

interface Search {
  readonly filters: DeliveryFilters
  /** Messages that no listener got, instead of deliveries. */
  readonly unheard: boolean
  readonly chips: readonly Chip[]
  /** The last 24 hours, since nothing was said of the time. */
  readonly byDefault: boolean
}

const STATES: Readonly<Record<string, DeliveryStateName>> = {
  pendiente: 'pendiente',
  pendientes: 'pendiente',
  reintentando: 'reintentando',
  exitosa: 'exitosa',
  exitosas: 'exitosa',
  fallida: 'fallida',
  fallidas: 'fallida',
  descartada: 'descartada',
  descartadas: 'descartada',
}

const NAMES = ['evento', 'listener', 'estado', 'desde', 'hasta', 'mensaje', 'clave', 'buscar', 'sin'] as const
type Name = (typeof NAMES)[number]

const LONGEST = 500
const DAY = 86_400_000
const ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i
const SPAN = /^\d{1,5}(?:s|m|min|h|d)$/
const DATE = /^(?:hoy|ayer|\d{1,2}\/\d{1,2}\/\d{4}|\d{4}-\d{2}-\d{2})$/i
const EVENT = /^[\w-]+(?:\.[\w*-]+)+$|^[\w.-]*\*[\w.*-]*$/
/** `nombre:valor`, `"un texto"`, a word. */
const PARTS = /([a-z]+):(?:"([^"]*)"|«([^»]*)»|(\S+))|"([^"]*)"|«([^»]*)»|(\S+)/gi

/**
 * @param listeners the names there are
 * @throws UsageError with what was found and what is accepted
 */
export function readSearch(text: string, listeners: readonly string[], now = new Date()): Search {
  if (text.length > LONGEST) throw new UsageError(`la búsqueda tiene más de ${LONGEST} letras: acórtela.`)
  const found: { [K in Name]?: string } = {}
  const words: string[] = []
  const chips: Chip[] = []
  const put = (name: Name, value: string, part: string, shown = value) => {
    if (found[name] !== undefined) throw new UsageError(`«${name}:» está dos veces: deje una.`)
    found[name] = value
    chips.push({ nombre: name, valor: shown, palabra: part })
  }
  for (const [part, name, quoted, angled, bare, alone, aloneAngled, word = ''] of text.matchAll(PARTS)) {
    const value = quoted ?? angled ?? bare
    if (name !== undefined && value !== undefined && isName(name)) put(name.toLowerCase() as Name, value, part)
    else if (alone !== undefined || aloneAngled !== undefined) words.push(alone ?? aloneAngled ?? '')
    else guess(part === word || name === undefined ? word || part : part, part)
  }

  function guess(word: string, part: string): void {
    const lower = word.toLowerCase()
    if (Object.hasOwn(STATES, lower)) put('estado', STATES[lower]!, part)
    else if (listeners.includes(word)) put('listener', word, part)
    else if (ID.test(word)) put('mensaje', word.toUpperCase(), part)
    else if (SPAN.test(lower)) put('desde', lower, part)
    else if (DATE.test(lower)) {
      put('desde', lower, part)
      // A day alone is that day.
      if (lower !== 'hoy') found.hasta ??= lower
    } else if (EVENT.test(word) && !/^[\d.]+$/.test(word)) put('evento', word, part)
    else words.push(word)
  }

  if (found.sin !== undefined && found.sin !== 'listener')
    throw new UsageError(`«sin:${found.sin}»: se acepta sin:listener.`)
  if (found.listener !== undefined && listeners.length > 0 && !listeners.includes(found.listener))
    throw new UsageError(`no hay ningún listener «${found.listener}».${suggestion(found.listener, listeners)}`)
  const asked = [...(found.buscar === undefined ? [] : [found.buscar]), ...words].filter((word) => word !== '')
  if (words.length > 0) chips.push({ nombre: 'texto', valor: words.join(' '), palabra: '' })
  const hasTime = found.desde !== undefined || found.hasta !== undefined
  const byDefault = !hasTime && found.mensaje === undefined && found.clave === undefined
  const since = found.desde === undefined ? undefined : parseInstant(found.desde, 'desde', 'start', now)
  const until = found.hasta === undefined ? undefined : parseInstant(found.hasta, 'hasta', 'end', now)
  if (since && until && since >= until)
    throw new UsageError('«desde» no es anterior a «hasta»: así no queda ninguna entrega.')
  return {
    filters: {
      event: found.evento,
      listener: found.listener,
      states: found.estado === undefined ? undefined : readStates(found.estado),
      since: byDefault ? new Date(now.getTime() - DAY) : since,
      until,
      messageId: found.mensaje,
      key: found.clave,
      search: asked.length === 0 ? undefined : asked,
    },
    unheard: found.sin !== undefined,
    chips: chips.map((chip) => withInstant(chip, since, until, now)),
    byDefault,
  }
}

/** Whoever may not see what messages say does not find them by it: asked letter by letter, a search tells it all. */
export function searchOf(
  { cuerpos }: { readonly cuerpos: boolean },
  text: string,
  listeners: readonly string[],
): Search {
  const search = readSearch(text, listeners)
  return cuerpos ? search : { ...search, filters: { ...search.filters, namesOnly: true } }
}

function isName(name: string): boolean {
  return (NAMES as readonly string[]).includes(name.toLowerCase())
}

function readStates(text: string): DeliveryStateName[] {
  return text.split(',').map((word) => {
    const state = STATES[word.trim().toLowerCase()]
    if (state === undefined) {
      const known = [...new Set(Object.values(STATES))]
      throw new UsageError(`«${word}» no es un estado; hay: ${known.join(', ')}.${suggestion(word, known)}`)
    }
    return state
  })
}

function withInstant(chip: Chip, since: Date | undefined, until: Date | undefined, now: Date): Chip {
  const at = chip.nombre === 'desde' ? since : chip.nombre === 'hasta' ? until : undefined
  return at === undefined ? chip : { ...chip, valor: `${chip.valor} (${shortTime(at, now)} ${zoneOf(at)})` }
}

/** What was looked for, for a result that has nothing: `entregas de diaguita fallidas, en las últimas 24 horas`. */
export function searchSentence({ filters, unheard, byDefault }: Search, now = new Date()): string {
  const { event, listener, states, since, until, messageId, key, search, namesOnly } = filters
  const parts = [
    unheard ? 'mensajes que ningún listener recibió' : 'entregas',
    states?.map((state) => (state === 'reintentando' ? 'por reintentar' : `${state}s`)).join(' o '),
    listener !== undefined && `de ${listener}`,
    event !== undefined && `con evento ${event}`,
    messageId !== undefined && `del mensaje ${messageId}`,
    key !== undefined && `con la clave ${key}`,
    search !== undefined &&
      `que dicen ${[search]
        .flat()
        .map((word) => `«${word}»`)
        .join(' y ')}${namesOnly ? ' en el id, la clave o el evento' : ''}`,
  ]
  const range = byDefault
    ? 'en las últimas 24 horas'
    : [since && `desde ${shortTime(since, now)}`, until && `hasta ${shortTime(until, now)}`]
        .filter(Boolean)
        .join(' ') || 'de siempre'
  return `${parts.filter(Boolean).join(' ')}, ${range}`
}

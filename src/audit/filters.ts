/**
 * Which deliveries a person means, and the SQL of it: one meaning for `auditoria`, `reenviar`, `descartar` and the page.
 *
 * What a filter says of the message (its key, a text in it) is looked up in `mensaje`, what it says of the attempts in `intento`;
 * all else are columns of `entrega` that the index of the asked order holds, so that what does not match is passed over without a
 * look at its row.
 */
import { arrayLiteral } from './columns.ts'
import type { Parameter, Session } from './database.ts'
import type { DeliveryStateName } from './event.ts'
import type { TimeRange } from './stretches.ts'

export const DELIVERY_STATES = ['pendiente', 'reintentando', 'exitosa', 'fallida', 'descartada'] as const

/** All that are given must hold. */
export interface DeliveryFilters {
  /** Pattern; `*` matches any run of characters. */
  readonly event?: string | undefined
  readonly listener?: string | undefined
  readonly states?: readonly DeliveryStateName[] | undefined
  /** Bounds of `creado`, with `search` of the message's `recibido`: from (inclusive), until (exclusive). */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  /** Bounds of an attempt's `inicio`: one was made then. */
  readonly triedSince?: Date | undefined
  readonly triedUntil?: Date | undefined
  readonly messageId?: string | undefined
  /** As `send --clave` gave it. */
  readonly key?: string | undefined
  /**
   * Text in the body, the key or the id; upper and lower case are the same. Several words: each of them there, or in the event's
   * name, and a number of up to three digits by itself (7 is not in 2017).
   */
  readonly search?: string | readonly string[] | undefined
  /** The search leaves the body out: for those who may not see what messages say. */
  readonly namesOnly?: boolean | undefined
}

const DAY = 86_400_000

/** What a text is looked for in: messages received in that time, the last day where nothing is said. */
export function searchRange({ since, until }: Pick<DeliveryFilters, 'since' | 'until'>, now = Date.now()): TimeRange {
  const end = until ?? new Date(now)
  return { since: since ?? new Date(Math.min(end.getTime(), now) - DAY), until: end }
}

/** Takes a parameter in, and gives its `$n`. */
export type Put = (value: Parameter) => string

/** Parameters of one statement. */
export function parameterList(): { readonly parameters: Parameter[]; readonly put: Put } {
  const parameters: Parameter[] = []
  return { parameters, put: (value) => `$${parameters.push(value)}` }
}

/** Of one branch of a listing: the event and the state by themselves, where an index then gives the order asked for. */
interface Branch {
  readonly event?: string
  readonly state?: DeliveryStateName
}

/** More branches would cost more than they save. */
const MOST_BRANCHES = 64

/**
 * An index gives the order of time only for one event and one state: where several are meant, each is asked for by itself, and the
 * first of all of them are the first.
 * @param events that the filter's pattern stands for; null: not known
 */
export function branchesOf({ event, states }: DeliveryFilters, events: readonly string[] | null): Branch[] {
  const byEvent: Branch[] =
    event === undefined || events === null ? [{}] : events.map((name): Branch => ({ event: name }))
  const byState: Branch[] = states === undefined ? [{}] : states.map((state) => ({ state }))
  if (byEvent.length * byState.length > MOST_BRANCHES) return [{}]
  return byEvent.flatMap((one) => byState.map((other) => ({ ...one, ...other })))
}

/**
 * What is read in the order of its time, and leads to the deliveries: themselves, by `creado`; the messages of a search, by
 * `recibido`; the attempts of a time, by `inicio`, where each delivery stands once, at its last attempt of that time.
 */
type Source = 'deliveries' | 'messages' | 'attempts'

export function sourceOf({ search, triedSince, triedUntil, messageId, key }: DeliveryFilters): Source {
  if (search !== undefined) return 'messages'
  const isOfFew = messageId !== undefined || key !== undefined
  return (triedSince || triedUntil) && !isOfFew ? 'attempts' : 'deliveries'
}

export const SOURCE_TIME = { deliveries: 'e.creado', messages: 'm.recibido', attempts: 'i.inicio' } as const

/** The FROM and the conditions that lead to deliveries `e`. @param stretch of the time of the source; all that the filters say */
export function deliveriesFrom(
  session: Session,
  filters: DeliveryFilters,
  put: Put,
  { branch = {}, stretch }: { readonly branch?: Branch; readonly stretch?: TimeRange | undefined } = {},
): { readonly from: string; readonly conditions: string[] } {
  const source = sourceOf(filters)
  const conditions = deliveryConditions(session, filters, put, branch)
  const [delivery, message, attempt] = ['entrega', 'mensaje', 'intento'].map((name) => session.table(name))
  switch (source) {
    case 'deliveries':
      conditions.push(...between('e.creado', stretch ?? filters, put))
      if (isTried(filters)) conditions.push(triedCondition(session, filters, put))
      return { from: `${delivery} e`, conditions }
    case 'messages':
      if (isTried(filters)) conditions.push(triedCondition(session, filters, put))
      conditions.push(...messageConditions(session, { ...filters, ...stretch }, put))
      return {
        from: `${message} m JOIN ${delivery} e ON e.mensaje_id = m.id AND e.instancia = m.instancia AND e.proyecto = m.proyecto`,
        conditions,
      }
    case 'attempts': {
      const { triedSince: since, triedUntil: until } = filters
      const times = stretch ?? { since, until }
      conditions.push(...between('e.creado', filters, put), ...attemptConditions(session, filters, put, 'i'))
      conditions.push(...between('i.inicio', times, put))
      // Of several requests of a moment the last one, in the order of the primary key. Bounded by a constant too, which leaves out
      // partitions.
      const ofNext = [
        ...attemptConditions(session, filters, put, 'n'),
        ...between('n.inicio', { since: times.since, until }, put),
      ]
      conditions.push(`NOT EXISTS (SELECT FROM ${attempt} n WHERE n.mensaje_id = i.mensaje_id AND ${ofNext.join(' AND ')}
        AND n.listener = i.listener AND n.inicio >= i.inicio AND (n.inicio, n.id, n.pedido) > (i.inicio, i.id, i.pedido))`)
      return {
        from: `${attempt} i JOIN ${delivery} e ON e.mensaje_id = i.mensaje_id AND e.listener = i.listener`,
        conditions,
      }
    }
  }
}

/** Of a delivery `e`, but for its times. */
export function deliveryConditions(
  session: Session,
  filters: DeliveryFilters,
  put: Put,
  branch: Branch = {},
): string[] {
  const { owner, rules } = session
  const { event, listener, states, messageId, key } = filters
  const conditions = [`e.instancia = ${put(owner[0])}`, `e.proyecto = ${put(owner[1])}`]
  if (branch.event !== undefined) conditions.push(`e.evento = ${put(branch.event)}`)
  else if (event !== undefined) conditions.push(eventCondition('e.evento', rules.text(event), put))
  if (listener !== undefined) conditions.push(`e.listener = ${put(rules.key(listener))}`)
  if (messageId !== undefined) conditions.push(`e.mensaje_id = ${put(rules.key(messageId))}`)
  if (branch.state !== undefined) conditions.push(`e.estado = ${put(branch.state)}`)
  else if (states) conditions.push(`e.estado = ANY (${put(arrayLiteral(states))}::text[])`)
  // Said again in the words of the partial index.
  if (states && !states.includes('exitosa')) conditions.push(`e.estado <> 'exitosa'`)
  if (key !== undefined) {
    conditions.push(
      `e.mensaje_id = ANY (ARRAY(SELECT c.id FROM ${session.table('mensaje')} c
         WHERE c.instancia = ${put(owner[0])} AND c.proyecto = ${put(owner[1])} AND c.clave = ${put(rules.text(key))}))`,
    )
  }
  return conditions
}

function isTried({ triedSince, triedUntil }: DeliveryFilters): boolean {
  return triedSince !== undefined || triedUntil !== undefined
}

/** One of its attempts began in that time. */
function triedCondition(session: Session, filters: DeliveryFilters, put: Put): string {
  const { triedSince: since, triedUntil: until } = filters
  const conditions = [...attemptConditions(session, filters, put, 'i'), ...between('i.inicio', { since, until }, put)]
  return `EXISTS (SELECT FROM ${session.table('intento')} i WHERE i.mensaje_id = e.mensaje_id AND i.listener = e.listener
    AND ${conditions.join(' AND ')})`
}

export function attemptConditions(
  { owner, rules }: Session,
  { listener }: Pick<DeliveryFilters, 'listener'>,
  put: Put,
  alias: string,
): string[] {
  const conditions = [`${alias}.instancia = ${put(owner[0])}`, `${alias}.proyecto = ${put(owner[1])}`]
  if (listener !== undefined) conditions.push(`${alias}.listener = ${put(rules.key(listener))}`)
  return conditions
}

/** From (inclusive), until (exclusive). */
export function between(time: string, { since, until }: Pick<DeliveryFilters, 'since' | 'until'>, put: Put): string[] {
  return [...(since ? [`${time} >= ${put(since)}`] : []), ...(until ? [`${time} < ${put(until)}`] : [])]
}

/** Of a message `m`; the text last, as it costs most. */
export function messageConditions(
  { owner, rules }: Session,
  filters: Omit<DeliveryFilters, 'listener' | 'states'>,
  put: Put,
): string[] {
  const { since, until, event, messageId, key, search, namesOnly = false } = filters
  const conditions = [`m.instancia = ${put(owner[0])}`, `m.proyecto = ${put(owner[1])}`]
  conditions.push(...between('m.recibido', { since, until }, put))
  if (event !== undefined) conditions.push(eventCondition('m.evento', rules.text(event), put))
  if (messageId !== undefined) conditions.push(`m.id = ${put(rules.key(messageId))}`)
  if (key !== undefined) conditions.push(`m.clave = ${put(rules.text(key))}`)
  if (typeof search === 'string')
    conditions.push(searchCondition(searchPattern(search), { names: NAMES, namesOnly }, put))
  else for (const word of search ?? []) conditions.push(wordCondition(word, namesOnly, put))
  return conditions
}

function eventCondition(column: string, event: string, put: Put): string {
  return event.includes('*') ? `${column} LIKE ${put(likePattern(event))}` : `${column} = ${put(event)}`
}

/** An event's pattern as LIKE has it. */
export function likePattern(event: string): string {
  return event.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%')
}

const NAMES = `m.id || ' ' || coalesce(m.clave, '')`

/** Nearly every id has a 7 somewhere. */
function wordCondition(word: string, namesOnly: boolean, put: Put): string {
  if (/^\d{1,3}$/.test(word))
    return searchCondition(`(?:^|[^0-9])${word}(?:[^0-9]|$)`, { names: `coalesce(m.clave, '')`, namesOnly }, put)
  return searchCondition(searchPattern(word), { names: `${NAMES} || ' ' || m.evento`, namesOnly }, put)
}

/** @param names what is looked at beside the body, as SQL */
function searchCondition(
  regex: string,
  where: { readonly names: string; readonly namesOnly: boolean },
  put: Put,
): string {
  const pattern = `${put(regex)}::text`
  const named = `encode(convert_to(${where.names}, 'UTF8'), 'escape') ~* ${pattern}`
  return where.namesOnly ? named : `(${named} OR encode(m.cuerpo, 'escape') ~* ${pattern})`
}

/**
 * A regular expression of ASCII alone, which a database of any encoding takes, over `encode(bytes, 'escape')`, where bytes of any
 * encoding are ASCII: those above are `\303`, a backslash is two. A letter is found as UTF-8, as Latin-1, as a JSON encoder escapes
 * it (PHP's writes `\u00f1` and `\/`), and as `TextRules` does.
 */
export function searchPattern(text: string): string {
  return [...text].map(letterPattern).join('')
}

/** What a JSON encoder may put before a letter, as the escaped body has it. */
const ESCAPED = String.raw`(?:\\\\)?`

function letterPattern(letter: string): string {
  if (/[a-z0-9 ]/i.test(letter)) return letter
  if (letter === '\\') return String.raw`(?:\\\\){1,2}`
  if (/[/"]/.test(letter)) return `${ESCAPED}${letter}`
  if (letter === '\n') return String.raw`(?:\n|\\\\n)`
  if (letter === '\t') return String.raw`(?:\t|\\\\t)`
  if (/[ -~]/.test(letter)) return `\\${letter}`
  const forms = new Set<string>()
  for (const each of new Set([letter, letter.toLowerCase(), letter.toUpperCase()])) {
    forms.add([...Buffer.from(each)].map(octal).join(''))
    if (each.length === 1 && each <= '\xff') forms.add(octal(each.charCodeAt(0)))
    const units = Array.from({ length: each.length }, (_, i) => each.charCodeAt(i).toString(16).padStart(4, '0'))
    forms.add(String.raw`\\\\u\{${each.codePointAt(0)!.toString(16)}\}`)
    forms.add(units.map((unit) => String.raw`\\\\u${unit}`).join(''))
  }
  return `(?:${[...forms].join('|')})`
}

function octal(byte: number): string {
  return String.raw`\\${byte.toString(8).padStart(3, '0')}`
}

/**
 * The ledger: four sources that must tell the same story once all is quiet — the ids that were acknowledged, the requests
 * that the listeners really saw, what Redis still holds, and the audit tables.
 */
import { createHash } from 'node:crypto'
import type { Arena } from './arena.ts'
import type { Role } from './cast.ts'
import type { Sent, Traffic } from './traffic.ts'
import type { WireRequest } from './wire.ts'

export interface Figures {
  readonly messages: number
  readonly deliveries: number
  /** Acknowledged, and not final for a listener that wants it. */
  readonly lost: number
  /** Requests beyond the first that was answered with the final status. */
  readonly duplicates: number
  /** Requests on the wire without a row. */
  readonly unrecorded: number
  /** Contradictions between the sources. */
  readonly mismatches: number
  /** ms from the end of the fault to the next delivery; null: not measured. */
  readonly recovery: number | null
  /** Everything that must not be, in words. */
  readonly violations: readonly string[]
  /** What the dice drew. */
  readonly notes?: readonly string[]
  /** What the workers logged, where something is wrong. */
  readonly logs?: string
}

export interface Rules {
  /** Deliveries that may have been failed because their lease was lost three times. */
  readonly mayGiveUp?: number
  /** The configuration changed meanwhile: how many listeners a message has is judged by the fault itself. */
  readonly fanOutMayDiffer?: boolean
  /** Redis lost its memory: what waited for a callback went with it, and what was restored comes after what was not lost. */
  readonly flushed?: boolean
  /** Redis came back as it was before: what it had done since is done again, and told again. */
  readonly rewound?: boolean
  /** Exit codes of `send`, besides 4, that the fault explains. */
  readonly mayRefuse?: readonly number[]
  /** Leave listeners out whose answers the fault spoils: they are judged by the fault itself. */
  readonly except?: readonly string[]
}

interface MessageRow {
  id: string
  evento: string
  listeners: number | null
  huella: string | null
}
interface DeliveryRow {
  mensaje_id: string
  listener: string
  estado: string
  intentos: number
  motivo: string | null
}
interface AttemptRow {
  mensaje_id: string
  listener: string
  numero: number
  pedido: number
  http_estado: number | null
  error: string | null
  resultado: string
}
interface CallbackRow {
  mensaje_id: string
  listener: string
  resultado: string
}

const SETTLED_WITHIN_MS = 3000
const GIVEN_UP = /arriendo venció 3 veces/
const SUCCESS_OR_REFUSAL = (status: number | null) => status !== null && (status < 300 || status === 422)

export async function balance(arena: Arena, traffic: Traffic, rules: Rules = {}): Promise<Figures> {
  const { sql, schema, wire } = arena
  const s = sql(schema)
  const [allMessages, allDeliveries, allAttempts, callbacks, rejected] = await Promise.all([
    sql<MessageRow[]>`SELECT id, evento, listeners, encode(sha256(cuerpo), 'hex') AS huella FROM ${s}.mensaje`,
    sql<DeliveryRow[]>`SELECT mensaje_id, listener, estado, intentos, motivo FROM ${s}.entrega`,
    sql<AttemptRow[]>`
      SELECT mensaje_id, listener, numero, pedido, http_estado, error, resultado FROM ${s}.intento ORDER BY numero, pedido`,
    sql<CallbackRow[]>`SELECT mensaje_id, listener, resultado FROM ${s}.callback`,
    sql<{ motivo: string }[]>`SELECT motivo FROM ${s}.auditoria_rechazada`,
  ])
  const messages = allMessages.filter(({ id }) => arena.judges(id))
  const deliveries = allDeliveries.filter(({ mensaje_id }) => arena.judges(mensaje_id))
  const attempts = allAttempts.filter(({ mensaje_id }) => arena.judges(mensaje_id))
  const requests = wire.requests.filter(({ id }) => arena.judges(id))
  const acknowledged = traffic.acknowledged.filter(({ id }) => arena.judges(id))
  const wrong: string[] = []
  const mismatch: string[] = []
  const say = (list: string[], text: string) => void list.push(text)

  const messageRows = groupBy(messages, ({ id }) => id)
  const deliveryRows = new Map(deliveries.map((row) => [`${row.mensaje_id} ${row.listener}`, row]))
  const attemptRows = groupBy(attempts, ({ mensaje_id, listener }) => `${mensaje_id} ${listener}`)
  const callbackRows = groupBy(callbacks, ({ mensaje_id, listener }) => `${mensaje_id} ${listener}`)
  const seen = groupBy(requests, ({ id, listener }) => `${id} ${listener}`)
  const bodies = new Map(acknowledged.map(({ id, body }) => [id, body]))
  const judged = arena.cast.roles.filter(({ name }) => !rules.except?.includes(name))

  let lost = 0
  let givenUp = 0
  for (const sent of acknowledged) {
    for (const role of judged.filter(({ wants }) => wants(sent.event))) {
      const key = `${sent.id} ${role.name}`
      const row = deliveryRows.get(key)
      if (row && row.estado === 'fallida' && GIVEN_UP.test(row.motivo ?? '')) {
        givenUp += 1
        continue
      }
      const arrived = seen.get(key)?.some(({ status }) => SUCCESS_OR_REFUSAL(status))
      if (row?.estado === role.expects(sent.id) && arrived) continue
      lost += 1
      say(
        wrong,
        `lost: ${key} (${sent.sender} ${sent.event}): entrega ${row ? `${row.estado} ${row.motivo ?? ''}` : 'none'}, ` +
          `on the wire: ${seen.get(key)?.map(({ status }) => status) ?? 'never'}, mensaje rows: ${messageRows.get(sent.id)?.length ?? 0}`,
      )
    }
  }
  if (givenUp > (rules.mayGiveUp ?? 0)) say(wrong, `${givenUp} deliveries were given up for three lost leases`)

  // mensaje: one row each, with its listeners and its very bytes.
  for (const { id, event } of acknowledged) {
    const rows = messageRows.get(id) ?? []
    // Taken twice, a message whose id does not tell its time is received twice.
    if (rows.length !== 1 && !(rules.rewound && rows.length > 1)) say(mismatch, `${rows.length} mensaje rows of ${id}`)
    const wanted = arena.cast.roles.filter(({ wants }) => wants(event)).length
    if (rows[0] && rows[0].listeners !== wanted && !rules.fanOutMayDiffer)
      say(mismatch, `${id}: listeners ${rows[0].listeners}, not ${wanted}`)
  }
  // entrega: as many as the message says, all final.
  const perMessage = groupBy(deliveries, ({ mensaje_id }) => mensaje_id)
  for (const { id, listeners } of messages) {
    const rows = perMessage.get(id) ?? []
    if (rows.length !== listeners) say(mismatch, `${id}: ${rows.length} entregas of ${listeners}`)
    for (const { estado, listener } of rows) {
      if (!['exitosa', 'fallida', 'descartada'].includes(estado)) say(mismatch, `${id} ${listener} is ${estado}`)
    }
  }
  for (const { mensaje_id } of deliveries) {
    if (!messageRows.has(mensaje_id)) say(mismatch, `entrega of ${mensaje_id} without its mensaje`)
  }
  // intento: agrees with entrega, and each request on the wire has exactly one.
  const { unrecorded } = compareAttempts(judged, deliveryRows, attemptRows, seen, mismatch)
  const crashed = arena.crashes.reduce((sum, { inFlight }) => sum + inFlight, 0)
  if (!rules.flushed) for (const each of unrecorded) say(mismatch, `a request without its intento row: ${each}`)
  // callback: exactly one that ended for each failed delivery of a listener that has an on_failure.
  for (const { name, settings } of judged) {
    if (!settings.on_failure || rules.flushed) continue
    const failed = deliveries.filter(({ listener, estado }) => listener === name && estado === 'fallida')
    for (const { mensaje_id } of failed) {
      const ended = (callbackRows.get(`${mensaje_id} ${name}`) ?? []).filter(({ resultado }) => resultado === 'exito')
      if (ended.length === 0) say(mismatch, `${mensaje_id} ${name} failed and its on_failure did not run`)
    }
    const told = messages.filter(({ evento }) => evento === 'rechazo.avisado').length
    if (told !== failed.length) say(mismatch, `${failed.length} failures of ${name} made ${told} rechazo.avisado`)
  }
  for (const { motivo } of rejected) say(mismatch, `auditoria_rechazada: ${motivo}`)

  const { duplicates, unexplained } = repeats(judged, seen, arena)
  if (duplicates > crashed && !rules.rewound)
    say(wrong, `${duplicates} duplicates, ${crashed} could have been in flight at a crash`)
  for (const each of unexplained.slice(0, 5)) say(wrong, `a duplicate that no crash explains: ${each}`)
  for (const { id, listener, body } of requests) {
    const expected = bodies.get(id)
    if (expected && expected !== body && !rules.except?.includes(listener))
      say(wrong, `${id} ${listener}: not the bytes that were sent`)
  }
  if (!rules.flushed) for (const each of outOfOrder(judged, acknowledged, seen).slice(0, 5)) say(wrong, each)
  for (const each of await leftovers(arena)) say(wrong, each)
  for (const each of unexpectedRefusals(traffic, rules.mayRefuse)) say(wrong, each)
  for (const each of strangeLogs(arena)) say(wrong, each)

  return {
    messages: acknowledged.length,
    deliveries: deliveries.length,
    lost,
    duplicates,
    unrecorded: unrecorded.length,
    mismatches: mismatch.length,
    recovery: recoveryOf(arena, seen),
    violations: [...wrong, ...mismatch],
  }
}

function compareAttempts(
  roles: readonly Role[],
  deliveryRows: ReadonlyMap<string, DeliveryRow>,
  attemptRows: ReadonlyMap<string, readonly AttemptRow[]>,
  seen: ReadonlyMap<string, readonly WireRequest[]>,
  mismatch: string[],
): { unrecorded: string[] } {
  const unrecorded: string[] = []
  const names = new Set(roles.map(({ name }) => name))
  for (const [key, delivery] of deliveryRows) {
    if (!names.has(delivery.listener)) continue
    const rows = attemptRows.get(key) ?? []
    const requests = seen.get(key) ?? []
    const numbers = new Set([...rows.map(({ numero }) => numero), ...requests.map(({ attempt }) => attempt)])
    for (const number of numbers) {
      const written = rows.filter(({ numero }) => numero === number)
      const made = requests.filter(({ attempt }) => attempt === number)
      // What never got through has an error and no status.
      const needless = written.filter(({ error, http_estado }) => error === null || http_estado !== null).length
      if (written.length < made.length) unrecorded.push(`${key} attempt ${number}`)
      if (needless > made.length) mismatch.push(`${key} attempt ${number}: ${needless} rows, ${made.length} requests`)
      // The row of a worker that never told its outcome gives way to that outcome, should it come after all.
      if (written.length > 1 && written.some(({ error }) => error === 'sin_resultado'))
        mismatch.push(`${key} attempt ${number}: without an outcome and with one`)
      if (number > delivery.intentos) mismatch.push(`${key}: attempt ${number} of ${delivery.intentos}`)
    }
    if (delivery.estado === 'exitosa' && !rows.some(({ resultado }) => resultado === 'exito')) {
      mismatch.push(`${key} is exitosa without such an intento`)
    }
    if (delivery.estado === 'fallida' && !GIVEN_UP.test(delivery.motivo ?? '')) {
      if (rows.at(-1)?.resultado !== 'fallo')
        mismatch.push(`${key} is fallida, its last intento ${rows.at(-1)?.resultado}`)
    }
  }
  for (const key of attemptRows.keys())
    if (!deliveryRows.has(key)) mismatch.push(`intento of ${key} without its entrega`)
  return { unrecorded }
}

/** Requests after one that was answered for good, and those among them that no crash came between. */
function repeats(roles: readonly Role[], seen: ReadonlyMap<string, readonly WireRequest[]>, arena: Arena) {
  const names = new Set(roles.map(({ name }) => name))
  const unexplained: string[] = []
  let duplicates = 0
  for (const [key, requests] of seen) {
    if (!names.has(requests[0]!.listener)) continue
    const answered = requests.filter(({ status }) => SUCCESS_OR_REFUSAL(status))
    duplicates += Math.max(0, answered.length - 1)
    for (let i = 1; i < answered.length; i++) {
      const [first, again] = [answered[i - 1]!, answered[i]!]
      // What was answered just before a crash may not have been written down yet, and a busy suite notes an answer late.
      const explained = arena.crashes.some(({ at }) => at >= first.answeredAt! - SETTLED_WITHIN_MS && at <= again.at)
      if (!explained)
        unexplained.push(`${key} at ${first.at} and ${again.at}, crashes ${arena.crashes.map(({ at }) => at)}`)
    }
  }
  return { duplicates, unexplained }
}

/** In strict order, what one sender sent first arrives first. */
function outOfOrder(
  roles: readonly Role[],
  acknowledged: readonly Sent[],
  seen: ReadonlyMap<string, readonly WireRequest[]>,
): string[] {
  const found: string[] = []
  for (const { name, settings, wants } of roles) {
    if (settings.orden !== 'estricto') continue
    const senders = groupBy(
      acknowledged.filter(({ event, sender }) => wants(event) && sender.startsWith('ajeno')),
      ({ sender }) => sender,
    )
    for (const [sender, sent] of senders) {
      let before: { order: number; at: number } | null = null
      for (const { id, order } of [...sent].sort((a, b) => a.order - b.order)) {
        const at = seen.get(`${id} ${name}`)?.find(({ status }) => SUCCESS_OR_REFUSAL(status))?.at
        if (at === undefined) continue
        if (before && at < before.at) found.push(`${name}: ${sender} ${order} arrived before ${before.order}`)
        before = { order, at }
      }
    }
  }
  return found
}

/** Keys that may stay when everything is done; `purga` where the suite runs at night, `sin_comenzar` after a death. */
const MAY_STAY =
  /:(listeners|valla|sin_comenzar|workers|situacion|continuidad|auditoria|eventos|entrada_invalida|pausas|purga|purga_hecha|(fallidas|corte|limite|clave):.*)$/

async function leftovers(arena: Arena): Promise<string[]> {
  const { client, keys, cast } = arena
  const found: string[] = []
  const prefix = keys.inbox.replace(/entrada$/, '')
  let cursor = '0'
  do {
    const [next, page] = await client.scan(cursor, 'MATCH', `${prefix.replace(/[[\]*?]/g, '\\$&')}*`, 'COUNT', 1000)
    cursor = next
    for (const key of page) if (!MAY_STAY.test(key)) found.push(`left in Redis: ${key}`)
  } while (cursor !== '0')
  // One whose answer Redis took with it was sent again, as any sender does: more of the same is none of ours.
  const left = (await client.lrangeBuffer(keys.inboxInvalid, 0, -1)).map((entry) => entry.toString('base64'))
  for (const entry of arena.malformed) {
    const at = left.indexOf(Buffer.from(entry).toString('base64'))
    if (at < 0) found.push(`entrada_invalida lacks ${entry.toString().slice(0, 60)}`)
    else left.splice(at, 1)
  }
  const sent = new Set(arena.malformed.map((entry) => Buffer.from(entry).toString('base64')))
  for (const entry of left)
    if (!sent.has(entry)) found.push(`entrada_invalida has ${Buffer.from(entry, 'base64').toString().slice(0, 60)}`)
  for (const name of cast.names) {
    const held = await client.hlen(keys.lane(name).deliveries)
    if (held > 0) found.push(`${held} deliveries of ${name} are still on record`)
  }
  return found
}

function unexpectedRefusals({ refusals }: Traffic, allowed: readonly number[] = []): string[] {
  return refusals
    .filter(({ code }) => code !== 4 && !allowed.includes(code ?? -1))
    .map(({ code, stderr }) => `send exited ${code}: ${stderr.slice(0, 300)}`)
}

function strangeLogs(arena: Arena): string[] {
  const found: string[] = []
  for (const { log, output } of arena.history) {
    for (const entry of log) {
      if (/error interno|rechazó un resultado/.test(String(entry.mensaje)))
        found.push(JSON.stringify(entry).slice(0, 500))
    }
    const stack = /^(\s+at .*|.*(Unhandled|uncaught).*)$/m.exec(output)
    if (stack) found.push(`a worker wrote a stack: ${output.slice(-1500)}`)
  }
  return found
}

/** From the end of the fault to the next request; for kills, to the first one that had been in flight. */
function recoveryOf(arena: Arena, seen: ReadonlyMap<string, readonly WireRequest[]>): number | null {
  if (arena.healedAt !== null) {
    const healed = arena.healedAt
    const next = arena.wire.requests.find(({ at }) => at >= healed)
    return next ? next.at - healed : null
  }
  let longest: number | null = null
  for (const { at } of arena.crashes) {
    let first: number | null = null
    for (const requests of seen.values()) {
      const hit = requests.findIndex(
        (request) => request.at <= at && (request.answeredAt === null || request.answeredAt > at),
      )
      const again = hit >= 0 ? requests[hit + 1]?.at : undefined
      if (again !== undefined && again > at && (first === null || again < first)) first = again
    }
    if (first !== null && (longest === null || first - at > longest)) longest = first - at
  }
  return longest
}

function groupBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}

export function fingerprint(body: string): string {
  return createHash('sha1').update(body).digest('hex')
}

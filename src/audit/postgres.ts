/**
 * The audit in Postgres: writes batches of events.
 *
 * One transaction a batch. New rows are copied; what may be there already, and a batch whose copy was refused, is inserted
 * in a form that changes nothing the second time. A batch that is refused then too is halved until the guilty event stands
 * alone; that one goes to `auditoria_rechazada` and the rest is written. As every write can be repeated, the halves need not
 * be one transaction.
 */
import type { AuditConfig } from '../config/config.ts'
import type { Millis } from '../model/message.ts'
import { parts } from '../model/parts.ts'
import type { AuditBackend } from './backend.ts'
import { arrayLiteral, copyInto, encodeRows, insertParameters, Unencodable } from './columns.ts'
import { type Database, openDatabase, repeated, type Scope, type Session } from './database.ts'
import { original, textRules } from './encoding.ts'
import { type AttemptEvent, type AttemptRecord, type AuditEvent, WITHOUT_OUTCOME } from './event.ts'
import { createPartitions, olderSchema } from './migrate.ts'
import { keepRejected, keepStrange } from './rejected.ts'
import { type AttemptRow, rowsOf } from './rows.ts'
import { type Counted, countedSince, writeSummary } from './summary.ts'
import { type TableWriter, tableWriters } from './tables.ts'
import {
  isContentRefusal,
  isEncodingRefusal,
  isNotSupported,
  isWorthRepeating,
  postgresTrouble,
  tableOfDuplicate,
} from './trouble.ts'

export type { Scope } from './database.ts'

/** Of one statement; measured: larger ones are not faster. */
const ROWS_A_STATEMENT = 1_000
const BYTES_A_STATEMENT = 8 * 1024 * 1024
const OVERTAKEN_BATCHES = 100
/** A batch is written in a moment; see `DatabaseLimits`. */
const PATIENCE: Millis = 8_000

/** Connects when first used. The schema is made by `migrate`, not here. */
export function createPostgresBackend(config: AuditConfig, scope: Scope): AuditBackend {
  const database = openDatabase(config, scope, { connections: 2, patience: PATIENCE })
  const explained = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw postgresTrouble(error, config)
    }
  }
  const write = createWriter(database)
  return {
    write: (events) => explained(() => write(events)),
    setAside: (entries) => explained(() => database.transaction((session) => keepStrange(session, entries))),
    ensurePartitions: () =>
      explained(async () => void (await repeated(() => database.transaction((session) => createPartitions(session))))),
    olderSchema: () => explained(() => repeated(() => database.transaction(olderSchema))),
    close: () => database.close(),
  }
}

/**
 * Copies first, and inserts what was refused.
 *
 * Of several writers one may have the outcomes of the deliveries that another is about to begin, and be quicker. Its rows
 * then stand where a copy would go: for a while deliveries are inserted, which is slower by less than doing it twice.
 */
function createWriter(database: Database): AuditBackend['write'] {
  let overtaken = 0
  // Asked until it is so: the schema may be upgraded at any time.
  let withEvent = false
  let countsAll = false
  const attempt: Attempt = (events, way) =>
    database.transaction(async (session) => {
      withEvent ||= await knowsEvents(session)
      const since = countsAll ? Number.NEGATIVE_INFINITY : await countedSince(session)
      await writeBatch(session, events, way, { withEvent, countsSince: since })
      countsAll = since === Number.NEGATIVE_INFINITY
    })
  return async (events) => {
    if (events.length === 0) return
    try {
      if (overtaken > 0) overtaken--
      else {
        try {
          return await attempt(events, 'copy')
        } catch (error) {
          if (tableOfDuplicate(error) !== 'entrega') throw error
          overtaken = OVERTAKEN_BATCHES
        }
      }
      return await attempt(events, 'overtaken')
    } catch (error) {
      if (!isWorthInserting(error)) throw error
    }
    await writeOrHalve(attempt, database, events)
  }
}

type Attempt = (events: readonly AuditEvent[], way: Way) => Promise<void>

/** A schema of before keeps the event with the message alone. */
async function knowsEvents(session: Session): Promise<boolean> {
  const [row] = await session.query<{ known: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'evento') AS known`,
    [session.table('entrega')],
  )
  return row!.known
}

/** Of a COPY: a row is there already, or is not to be there at all; or COPY itself is what is not allowed. */
function isWorthInserting(error: unknown): boolean {
  return error instanceof Unencodable || isContentRefusal(error) || isWorthRepeating(error) || isNotSupported(error)
}

async function writeOrHalve(attempt: Attempt, database: Database, events: readonly AuditEvent[]) {
  try {
    await repeated(() => attempt(events, 'insert'))
  } catch (error) {
    if (!isContentRefusal(error)) throw error
    if (events.length === 1) return writeAlone(attempt, database, events[0]!, error as Error)
    const half = events.length >> 1
    await writeOrHalve(attempt, database, events.slice(0, half))
    await writeOrHalve(attempt, database, events.slice(half))
  }
}

/** The event that was refused: once more as plain ASCII where its letters were the trouble, else set aside. */
async function writeAlone(attempt: Attempt, database: Database, event: AuditEvent, refusal: Error) {
  let reason = refusal
  if (isEncodingRefusal(refusal)) {
    try {
      return await repeated(() => attempt([event], 'plain'))
    } catch (error) {
      if (!isContentRefusal(error)) throw error
      reason = error as Error
    }
  }
  await database.transaction((session) => keepRejected(session, event, reason))
}

/** `copy` what is new and insert the rest; the same but insert every delivery; `insert` all; insert all as `plain` ASCII. */
type Way = 'copy' | 'overtaken' | 'insert' | 'plain'

interface SchemaState {
  readonly withEvent: boolean
  /** Attempts that began since then are counted with the batch (ms since epoch); null: none. */
  readonly countsSince: number | null
}

async function writeBatch(
  session: Session,
  events: readonly AuditEvent[],
  way: Way,
  { withEvent, countsSince }: SchemaState,
) {
  const rules = textRules(session.encoding, way === 'plain')
  const { messages, deliveries, attempts, callbacks, actions } = rowsOf(events, rules)
  const exact = messages.some((row) => row.exact !== null)
  const withAction = deliveries.some(({ action }) => action !== null)
  const writers = tableWriters(session, rules, { exact, withEvent, withAction })
  const lost = lostAttempts(events)
  if (lost) await lockLostAttempts(session)
  const copying = way === 'copy' || way === 'overtaken'
  const rows = async <Row>(writer: TableWriter<Row>, all: readonly Row[], isNew: (row: Row) => boolean) => {
    if (copying) await copyRows(session, writer, all.filter(isNew))
    return insertRows(session, writer, copying ? all.filter((row) => !isNew(row)) : all)
  }
  // Always in this order, for every writer and for crear_particiones: nobody waits in a circle.
  await rows(writers.messages, messages, ({ isNew }) => isNew)
  await rows(writers.deliveries, deliveries, ({ isNew }) => isNew && way === 'copy')
  const copied = copying && lost === null
  const inserted = await rows(writers.attempts, attempts, () => copied)
  await rows(writers.callbacks, callbacks, () => false)
  await rows(writers.actions, actions, () => false)
  const removed = lost ? await removeReplaced(session, lost) : []
  if (countsSince === null) return
  const added = copied ? attempts : attempts.filter(isAmong(inserted as InsertedAttempt[]))
  await writeSummary(session, await countedOf(session, added, removed, countsSince))
}

interface InsertedAttempt {
  readonly mensaje_id: string
  readonly id: string
  readonly pedido: number
}

function isAmong(inserted: readonly InsertedAttempt[]): (row: AttemptRow) => boolean {
  const keys = new Set(inserted.map(({ mensaje_id, id, pedido }) => `${mensaje_id}\0${id}\0${pedido}`))
  return ({ key }) => keys.has(key.slice(0, key.lastIndexOf('\0')))
}

/** What these rows are for `resumen_hora`; the event of those that do not say it is their delivery's. */
async function countedOf(
  session: Session,
  added: readonly AttemptRow[],
  removed: readonly RemovedAttempt[],
  since: number,
): Promise<Counted[]> {
  const { key } = session.rules
  const last = added.filter(({ isLast }) => isLast)
  const spent = await spentBefore(
    session,
    last.filter(({ attemptMs }) => attemptMs === null),
  )
  const all = [
    ...last.map((row) => {
      const { messageId, listener, number, result, startedAt, durationMs } = row.attempt
      const ms = row.attemptMs ?? durationMs + (spent.get(row) ?? 0)
      return { messageId, listener, number, result, startedAt, event: row.event, ms, times: 1 as const }
    }),
    ...removed.map((row) => ({ ...row, event: null, times: -1 as const })),
  ].filter(({ startedAt }) => startedAt >= since)
  const unknown = all.filter(({ event }) => event === null)
  if (unknown.length === 0) return all as Counted[]
  const found = await session.query<{ mensaje_id: string; listener: string; evento: string | null }>(
    `SELECT e.mensaje_id, e.listener, e.evento FROM unnest($3::text[], $4::text[]) AS asked (mensaje_id, listener)
       JOIN ${session.table('entrega')} e USING (mensaje_id, listener) WHERE e.instancia = $1 AND e.proyecto = $2`,
    [
      ...session.owner,
      arrayLiteral(unknown.map(({ messageId }) => key(messageId))),
      arrayLiteral(unknown.map(({ listener }) => key(listener))),
    ],
  )
  const events = new Map(found.map(({ mensaje_id, listener, evento }) => [`${mensaje_id}\0${listener}`, evento]))
  return all.map((each) => ({
    ...each,
    event: each.event ?? events.get(`${key(each.messageId)}\0${key(each.listener)}`) ?? '',
  }))
}

/**
 * How long the requests before these took, of attempts of which 0.1.0 tells each request by itself. Asked once the rows of this
 * batch are there: it does not matter where batches are cut, repeated or halved.
 *
 * Of two writers one may be quicker with the end of such an attempt than the other with its beginning. It then counts once all the
 * same, but with the time of what is there, which is too short. To set that right every request of any version that is not
 * the last one would have to look for its end.
 */
async function spentBefore(session: Session, rows: readonly AttemptRow[]): Promise<ReadonlyMap<AttemptRow, Millis>> {
  const spent = new Map<AttemptRow, Millis>()
  if (rows.length === 0) return spent
  const { key } = session.rules
  // All of them begin within a day, the longest `espera_total`. The same id, come again, has the same numbers: its latest ones count.
  const found = await session.query<{ place: number; ms: number }>(
    `SELECT DISTINCT ON (place, i.pedido) place::int4, i.duracion_ms AS ms
       FROM unnest($3::text[], $4::text[], $5::int4[], $6::int4[], $7::float8[]) WITH ORDINALITY
              AS asked (mensaje_id, listener, numero, pedido, inicio, place)
       JOIN ${session.table('intento')} i USING (mensaje_id, listener, numero)
      WHERE i.instancia = $1 AND i.proyecto = $2 AND i.pedido < asked.pedido
        AND i.inicio <= to_timestamp(asked.inicio / 1000.0) AND i.inicio > to_timestamp(asked.inicio / 1000.0) - interval '1 day'
      ORDER BY place, i.pedido, i.inicio DESC`,
    [
      ...session.owner,
      arrayLiteral(rows, ({ attempt }) => key(attempt.messageId)),
      arrayLiteral(rows, ({ attempt }) => key(attempt.listener)),
      arrayLiteral(rows, ({ attempt }) => attempt.number),
      arrayLiteral(rows, ({ attempt }) => attempt.request),
      arrayLiteral(rows, ({ attempt }) => attempt.startedAt),
    ],
  )
  for (const { place, ms } of found) {
    const row = rows[place - 1]!
    spent.set(row, (spent.get(row) ?? 0) + ms)
  }
  return spent
}

async function copyRows<Row>(
  session: Session,
  { table, columns, constants, size }: TableWriter<Row>,
  rows: readonly Row[],
) {
  for (const part of parts(rows, Number.POSITIVE_INFINITY, BYTES_A_STATEMENT, size)) {
    await session.copy(copyInto(table, columns, constants), (bytes) => encodeRows(bytes, columns, constants, part))
  }
}

async function insertRows<Row>(
  session: Session,
  { columns, constants, insert, size }: TableWriter<Row>,
  rows: readonly Row[],
): Promise<object[]> {
  const returned: object[] = []
  for (const part of parts(rows, ROWS_A_STATEMENT, BYTES_A_STATEMENT, size)) {
    returned.push(...(await session.query(insert, insertParameters(columns, constants, part))))
  }
  return returned
}

interface LostAttempts {
  /** Ids of rows that an outcome in this batch replaces, each with its message. */
  readonly replaced: readonly (readonly [messageId: string, id: string])[]
  /** Rows of this batch whose outcome may be in the database already. */
  readonly standing: readonly AttemptEvent[]
}

/**
 * The attempts whose worker never told its outcome: a row stands for each, until the outcome comes after all and its own row
 * takes the place. Both may come in either order, twice, and from two writers at once; in the end there is one row.
 */
function lostAttempts(events: readonly AuditEvent[]): LostAttempts | null {
  const standing: AttemptEvent[] = []
  const replaced: (readonly [messageId: string, id: string])[] = []
  for (const event of events) {
    if (event.type !== 'attempt') continue
    if (event.attempt.error === WITHOUT_OUTCOME) standing.push(event)
    if (event.replaces !== null) replaced.push([event.attempt.messageId, event.replaces])
  }
  return standing.length + replaced.length > 0 ? { replaced, standing } : null
}

/** Before the rows are written: one writer at a time, or neither would see what the other is about to commit. Rare. */
async function lockLostAttempts(session: Session): Promise<void> {
  await session.query(`SELECT pg_advisory_xact_lock(hashtext('resthooks.sin_resultado'), hashtext($1))`, [
    session.schema,
  ])
}

/** Once the rows are written: removes those that stand for an outcome that is there. */
async function removeReplaced(session: Session, { replaced, standing }: LostAttempts): Promise<RemovedAttempt[]> {
  const table = session.table('intento')
  const { key } = session.rules
  const removed: RemovedAttempt[] = []
  const remove = async (messageId: string, condition: string, ...parameters: string[]) => {
    const rows = await session.query<RemovedAttempt>(
      `DELETE FROM ${table} WHERE instancia = $1 AND proyecto = $2 AND mensaje_id = $3 AND id = $4 ${condition}
       RETURNING listener, numero AS number, resultado AS result, duracion_ms AS ms,
                 round(extract(epoch FROM inicio) * 1000)::float8 AS "startedAt"`,
      [...session.owner, key(messageId), ...parameters.map(key)],
    )
    for (const row of rows) removed.push({ ...row, messageId, listener: original(row.listener) })
  }
  for (const [messageId, id] of replaced) await remove(messageId, '', id)
  for (const { attempt } of standing) {
    const { messageId, id, listener, number } = attempt
    const told = `AND EXISTS (SELECT FROM ${table} told WHERE told.instancia = $1 AND told.proyecto = $2
      AND told.mensaje_id = $3 AND told.listener = $5 AND told.numero = $6::int AND told.id <> $4)`
    await remove(messageId, told, id, listener, String(number))
  }
  return removed
}

interface RemovedAttempt extends Pick<AttemptRecord, 'messageId' | 'listener' | 'number' | 'result' | 'startedAt'> {
  readonly ms: number
}

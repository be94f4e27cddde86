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
import { copyInto, encodeRows, insertParameters, Unencodable } from './columns.ts'
import { type Database, openDatabase, repeated, type Scope, type Session } from './database.ts'
import { textRules } from './encoding.ts'
import type { AttemptEvent, AuditEvent } from './event.ts'
import { createPartitions, olderSchema } from './migrate.ts'
import { keepRejected, keepStrange } from './rejected.ts'
import { rowsOf } from './rows.ts'
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
  const attempt: Attempt = (events, way) =>
    database.transaction(async (session) => {
      withEvent ||= await knowsEvents(session)
      await writeBatch(session, events, way, withEvent)
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

async function writeBatch(session: Session, events: readonly AuditEvent[], way: Way, withEvent: boolean) {
  const rules = textRules(session.encoding, way === 'plain')
  const { messages, deliveries, attempts, callbacks } = rowsOf(events, rules)
  const exact = messages.some((row) => row.exact !== null)
  const writers = tableWriters(session, rules, { exact, withEvent })
  const lost = lostAttempts(events)
  if (lost) await lockLostAttempts(session)
  const copying = way === 'copy' || way === 'overtaken'
  const rows = async <Row>(writer: TableWriter<Row>, all: readonly Row[], isNew: (row: Row) => boolean) => {
    if (copying) await copyRows(session, writer, all.filter(isNew))
    await insertRows(session, writer, copying ? all.filter((row) => !isNew(row)) : all)
  }
  // Always in this order, for every writer and for crear_particiones: nobody waits in a circle.
  await rows(writers.messages, messages, ({ isNew }) => isNew)
  await rows(writers.deliveries, deliveries, ({ isNew }) => isNew && way === 'copy')
  await rows(writers.attempts, attempts, () => lost === null)
  await rows(writers.callbacks, callbacks, () => false)
  if (lost) await removeReplaced(session, lost)
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
) {
  for (const part of parts(rows, ROWS_A_STATEMENT, BYTES_A_STATEMENT, size)) {
    await session.query(insert, insertParameters(columns, constants, part))
  }
}

/** `error` of a row that stands for an outcome that did not come. */
const WITHOUT_OUTCOME = 'sin_resultado'

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
  const attempts = events.filter((event) => event.type === 'attempt')
  const standing = attempts.filter(({ attempt }) => attempt.error === WITHOUT_OUTCOME)
  const replaced = attempts.flatMap(({ attempt, replaces }) =>
    replaces === null ? [] : [[attempt.messageId, replaces] as const],
  )
  return standing.length + replaced.length > 0 ? { replaced, standing } : null
}

/** Before the rows are written: one writer at a time, or neither would see what the other is about to commit. Rare. */
async function lockLostAttempts(session: Session): Promise<void> {
  await session.query(`SELECT pg_advisory_xact_lock(hashtext('resthooks.sin_resultado'), hashtext($1))`, [
    session.schema,
  ])
}

/** Once the rows are written: removes those that stand for an outcome that is there. */
async function removeReplaced(session: Session, { replaced, standing }: LostAttempts): Promise<void> {
  const table = session.table('intento')
  const { key } = session.rules
  for (const [messageId, id] of replaced) {
    await session.query(`DELETE FROM ${table} WHERE instancia = $1 AND proyecto = $2 AND mensaje_id = $3 AND id = $4`, [
      ...session.owner,
      key(messageId),
      key(id),
    ])
  }
  for (const { attempt } of standing) {
    const { messageId, id, listener, number } = attempt
    await session.query(
      `DELETE FROM ${table} WHERE instancia = $1 AND proyecto = $2 AND mensaje_id = $3 AND id = $4 AND EXISTS (
         SELECT FROM ${table} told WHERE told.instancia = $1 AND told.proyecto = $2 AND told.mensaje_id = $3
            AND told.listener = $5 AND told.numero = $6::int AND told.id <> $4)`,
      [...session.owner, ...[messageId, id, listener].map(key), String(number)],
    )
  }
}

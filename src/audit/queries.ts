/**
 * What commands, panel and recovery read from the audit. Read-only transactions, one a question: nothing here holds a lock
 * or a snapshot that would disturb the writers.
 */
import type { AuditConfig } from '../config/config.ts'
import { Unavailable } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import type { Project } from '../model/project.ts'
import { type Count, type CountedBy, countDeliveries } from './counts.ts'
import { openDatabase, type Scope, type Session, SOON } from './database.ts'
import { type DeliveryFilters, searchRange, sourceOf } from './filters.ts'
import { type DatabaseHealth, readHealth } from './health.ts'
import {
  type DeliveryListing,
  knownNames,
  listDeliveries,
  listStretches,
  type Order,
  type Place,
  type Placed,
  placeOf,
  readCursor,
  writeCursor,
} from './listing.ts'
import { appliedVersion } from './migrate.ts'
import { type Overview, type OverviewQuestion, readEvents, readOverview } from './overview.ts'
import { readProjects, readProjectsOf } from './projects.ts'
import { deleteRejected, type RejectedRow, rejectedDeliveries, rejectedPage, renameRejected } from './rejected.ts'
import {
  type DeliveryBrief,
  readDeliveries,
  readMessages,
  readStates,
  type StoredDelivery,
  type StoredMessage,
} from './stored.ts'
import type { OnProgress, TimeRange } from './stretches.ts'
import { type HourOfRates, readRatesByHour, readRatesByMinute } from './summary.ts'
import { type DoneAction, readActions, readTimeline, type Timeline } from './timeline.ts'
import { isConnectionLost, postgresTrouble, sqlState } from './trouble.ts'
import {
  countMissed,
  countUnheard,
  type MissedFilters,
  type MissedMessage,
  type MissedOrder,
  type Owed,
  readMissed,
  readOwed,
  type Wanted,
} from './unfinished.ts'

export type { Count, CountedBy } from './counts.ts'
export { COUNTED_BY } from './counts.ts'
export { DELIVERY_STATES, type DeliveryFilters, searchRange } from './filters.ts'
export type { DatabaseHealth } from './health.ts'
export { type DeliveryListing, matchesFilters, type Place } from './listing.ts'
export type { Overview, OverviewQuestion, OverviewRates } from './overview.ts'
export { keptIn, type RejectedRow } from './rejected.ts'
export type { DeliveryBrief, StoredDelivery, StoredMessage } from './stored.ts'
export type { OnProgress, TimeRange } from './stretches.ts'
export type { ListenerRates } from './summary.ts'
export type {
  ActionColumns,
  AttemptColumns,
  CallbackColumns,
  DeliveryColumns,
  MessageColumns,
  Timeline,
} from './timeline.ts'
export type { MissedFilters, MissedMessage, Owed, Wanted } from './unfinished.ts'

/** Every method throws what `postgresTrouble` makes of the database's trouble. */
export interface AuditQueries {
  /** Everything about one message; null when the audit knows nothing of it. */
  message(id: string): Promise<Timeline | null>
  /** One page, newest first unless told otherwise. @throws UsageError where the cursor is none */
  deliveries(filters: DeliveryFilters, page: PageAsked, onProgress?: OnProgress): Promise<ListedPage>
  /** All that match, newest first unless told otherwise, page by page. */
  eachDelivery(filters: DeliveryFilters, order?: 'newest' | 'oldest'): AsyncGenerator<DeliveryListing>
  /** How many there are of each kind, the most first; hours as they came. */
  count(filters: DeliveryFilters, by: CountedBy, onProgress?: OnProgress): Promise<Count[]>
  /** The events, or the listeners, that there are deliveries of; null where that is not known. */
  names(column: 'evento' | 'listener'): Promise<string[] | null>
  /** Messages that one listener, or every one, has no delivery of. */
  missed(filters: MissedFilters, order?: MissedOrder): AsyncGenerator<MissedMessage>
  /** How many of one listener there are. */
  missedCount(filters: MissedFilters, onProgress?: OnProgress): Promise<number>
  /** One page of those that no listener got. */
  unheard(
    filters: DeliveryFilters,
    page: PageAsked,
    onProgress?: OnProgress,
  ): Promise<{ readonly rows: readonly MissedMessage[]; readonly next: string | null }>
  /** How many messages without any came since then, ten thousand at most. */
  unheardCount(since: Date): Promise<number>
  /** What the audit knows of how the project is doing, in one query. */
  overview(question: OverviewQuestion): Promise<Overview>
  /** Whether there is anything of this project, and of which others there are deliveries. */
  projects(): Promise<{ readonly own: boolean; readonly others: readonly Project[] }>
  /** Whose message of that id there is. */
  projectsOf(id: string): Promise<Project[]>
  /** Which events there were since then; of a schema of before, none. */
  events(since: Date): Promise<string[]>
  /** Rates of the last hours, a row for each minute or for each hour that had attempts. */
  ratesBy(step: 'minute' | 'hour', since: Date): Promise<HourOfRates[]>
  /** What people did, the newest first. @param before id of the last one of the page before */
  actions(limit: number, before: string | null): Promise<DoneAction[]>
  /** What changes from now on, each time it is asked. */
  changes(filters: DeliveryFilters): Promise<ChangeFeed>
  /** Deliveries that did not succeed (yet), by listener and state. */
  pendingCounts(): Promise<{ listener: string; estado: string; cantidad: number }[]>
  /** Rows of `auditoria_rechazada`. */
  rejectedCount(): Promise<number>
  /** Of the last migration applied; 0 when the schema does not exist. */
  schemaVersion(): Promise<number>
  /** Asks as a write does, and changes nothing; throws what would keep the audit from being written. */
  tryWrite(): Promise<void>
  health(): Promise<DatabaseHealth>
  /** Unfinished deliveries and delayed messages, by message, about oldest first; bodies of those that are wanted alone. */
  owed(wanted: Wanted): AsyncGenerator<Owed>
  /** Every delivery of these messages. */
  storedDeliveries(ids: readonly string[]): Promise<StoredDelivery[]>
  /** These messages, in parts that fit into memory. */
  storedMessages(ids: readonly string[], received?: TimeRange): AsyncGenerator<ReadonlyMap<string, StoredMessage>>
  /** Every delivery of these messages, its state alone. */
  deliveryStates(ids: readonly string[]): Promise<DeliveryBrief[]>
  /** Deliveries whose newest state the database refused. */
  rejectedDeliveries(): Promise<{ messageId: string; listener: string }[]>
  /** Rows of `auditoria_rechazada`, newest first. */
  rejected(): AsyncGenerator<RejectedRow>
  /** @returns whether it was there */
  deleteRejected(fingerprint: string): Promise<boolean>
  /** Another fingerprint for the same row. */
  renameRejected(row: RejectedRow, fingerprint: string): Promise<void>
  close(): Promise<void>
}

export interface PageAsked {
  readonly order?: 'newest' | 'oldest' | undefined
  readonly limit: number
  /** `next` of the page before. */
  readonly cursor?: string | undefined
}

interface ListedPage {
  readonly rows: readonly DeliveryListing[]
  /** Null: there are no more. */
  readonly next: string | null
}

export interface ChangeFeed {
  /** The deliveries that changed since the last call, each in its newest state, oldest change first. */
  next(): Promise<DeliveryListing[]>
}

const PAGE = 1_000
/** Who waits for somebody's lock is told so, before `estado` gives up without knowing why. */
const LOCKED: Millis = 2_500
/** A question of a person took longer than one may. */
const ASK_LESS =
  'Pregunte por menos (--desde y --hasta, --listener, --evento), o repita cuando la base esté menos cargada.'
/** Changes carry the time of the event and are written a little later, by several writers: look back this far. */
const OVERLAP: Millis = 5_000
/** The events' times are Redis's, whose clock may be behind Postgres': following starts this long ago, silently. */
const SKEW: Millis = 60_000

/**
 * Connects when first asked.
 * @param statement how long one may take, where a person waits for it
 */
export function openAuditQueries(config: AuditConfig, scope: Scope, statement?: Millis): AuditQueries {
  const limits = statement === undefined ? { connections: 2 } : { connections: 4, statement }
  const database = openDatabase(config, scope, { ...limits, readOnly: true, connect: SOON, lock: LOCKED })
  const ask = async <T>(work: (session: Session) => Promise<T>, writing = false): Promise<T> => {
    try {
      return await database.transaction(work, writing)
    } catch (error) {
      const trouble = postgresTrouble(error, config)
      if (sqlState(error) !== '57014') throw trouble
      throw new Unavailable(`${trouble.message} ${ASK_LESS}`, { cause: error })
    }
  }
  // Refused where a write would be, before it is known that there is no such row.
  const write = async (session: Session) => {
    await session.query(`UPDATE ${session.table('entrega')} SET estado = estado WHERE false`)
  }
  const list = (filters: DeliveryFilters, page: { order: Order; limit: number; after?: Place | undefined }) =>
    ask((session) => listDeliveries(session, filters, page))
  const listed = (
    filters: DeliveryFilters,
    page: { order: 'newest' | 'oldest'; limit: number; after?: Place | undefined },
    onProgress?: OnProgress,
  ) => (sourceOf(filters) === 'deliveries' ? list(filters, page) : listStretches(ask, filters, page, onProgress))
  const missed = (filters: MissedFilters, order?: MissedOrder) => readMissed(ask, withRange(filters), order)

  return {
    message: (id) => ask((session) => readTimeline(session, id)),
    deliveries: async (filters, { order = 'newest', limit, cursor }, onProgress) => {
      const after = cursor === undefined ? undefined : readCursor(order, cursor)
      // One more than shown, to know whether there are more.
      const found = await listed(filters, { order, limit: limit + 1, after }, onProgress)
      const rows = found.slice(0, limit)
      return { rows: rows.map(shown), next: found.length > limit ? writeCursor(order, placeOf(rows.at(-1)!)) : null }
    },
    eachDelivery: async function* (asked, order = 'newest') {
      const filters = withRange(asked)
      for (let after: Place | undefined; ; ) {
        const rows = await listed(filters, { order, limit: PAGE, after })
        for (const row of rows) yield shown(row)
        if (rows.length < PAGE) return
        after = placeOf(rows.at(-1)!)
      }
    },
    count: (filters, by, onProgress) => countDeliveries(ask, filters, by, onProgress),
    names: (column) => ask((session) => knownNames(session, column)),
    changes: async (filters) => {
      const [row] = await ask((session) => session.query<{ now: Date }>('SELECT now()'))
      const start = new Date(row!.now.getTime() - SKEW)
      const feed = changeFeed((after) => list(filters, { order: 'changes', limit: PAGE, after }), start)
      await feed.next()
      return feed
    },
    ratesBy: (step, since) =>
      ask((session) => (step === 'minute' ? readRatesByMinute(session, since) : readRatesByHour(session, { since }))),
    actions: (limit, before) => ask((session) => readActions(session, limit, before)),
    pendingCounts: () =>
      ask((session) =>
        session.query<{ listener: string; estado: string; cantidad: number }>(
          `SELECT listener, estado, count(*)::float8 AS cantidad FROM ${session.table('entrega')}
            WHERE instancia = $1 AND proyecto = $2 AND estado <> 'exitosa' GROUP BY 1, 2 ORDER BY 1, 2`,
          session.owner,
        ),
      ),
    rejectedCount: async () => {
      const [row] = await ask((session) =>
        session.query<{ count: number }>(
          `SELECT count(*)::float8 FROM ${session.table('auditoria_rechazada')} WHERE instancia = $1 AND proyecto = $2`,
          session.owner,
        ),
      )
      return row!.count
    },
    schemaVersion: () => ask(appliedVersion),
    tryWrite: () => ask(write, true),
    missed,
    missedCount: (filters, onProgress) => countMissed(ask, withRange(filters), onProgress),
    unheard: async (filters, { order = 'newest', limit, cursor }, onProgress) => {
      const start = cursor === undefined ? undefined : readCursor(order, cursor)
      const rows: MissedMessage[] = []
      for await (const row of missed({ ...filters, listener: null }, { order, start, onProgress })) {
        if (rows.length < limit) rows.push(row)
        else {
          const { recibido, id } = rows.at(-1)!
          return { rows, next: writeCursor(order, { at: recibido, messageId: id, listener: '' }) }
        }
      }
      return { rows, next: null }
    },
    projects: () => ask(readProjects),
    projectsOf: (id) => ask((session) => readProjectsOf(session, id)),
    events: (since) => ask((session) => readEvents(session, since)),
    overview: (question) => ask((session) => readOverview(session, question)),
    unheardCount: (since) => ask((session) => countUnheard(session, since)),
    health: async () => {
      const facts = await ask(readHealth)
      try {
        await database.transaction(write, true)
        return { ...facts, readOnly: false }
      } catch (error) {
        // Of the rest, a missing table or right, the facts tell more.
        if (isConnectionLost(error)) throw postgresTrouble(error, config)
        return { ...facts, readOnly: facts.readOnly || sqlState(error) === '25006' }
      }
    },
    owed: (wanted) => readOwed(ask, wanted),
    storedDeliveries: (ids) => ask((session) => readDeliveries(session, ids)),
    storedMessages: (ids, received) => readMessages(ask, ids, received),
    deliveryStates: (ids) => ask((session) => readStates(session, ids)),
    rejectedDeliveries: () => ask(rejectedDeliveries),
    rejected: async function* () {
      for (let after: RejectedRow | null = null; ; ) {
        const before: RejectedRow | null = after
        const rows: RejectedRow[] = await ask((session) => rejectedPage(session, before))
        yield* rows
        after = rows.at(-1) ?? null
        if (after === null) return
      }
    },
    deleteRejected: (fingerprint) => ask((session) => deleteRejected(session, fingerprint), true),
    renameRejected: (row, fingerprint) => ask((session) => renameRejected(session, row, fingerprint), true),
    close: () => database.close(),
  }
}

function shown({ lugar: _, ...row }: Placed): DeliveryListing {
  return row
}

/** A text is looked for in the messages of the last day unless told otherwise: the same day from the first page to the last. */
function withRange<Filters extends Pick<DeliveryFilters, 'search' | 'since' | 'until'>>(filters: Filters): Filters {
  return filters.search === undefined ? filters : { ...filters, ...searchRange(filters) }
}

/**
 * Looks at the last seconds again and again, and gives what it has not given before: a cursor alone would miss rows that a
 * slower writer commits behind it.
 */
function changeFeed(page: (after: Place) => Promise<Placed[]>, start: Date): ChangeFeed {
  /** Newest change given, by delivery. */
  let given = new Map<string, DeliveryListing>()
  let from = start.getTime()
  let newest = start.getTime()
  return {
    next: async () => {
      const fresh: DeliveryListing[] = []
      let after: Place = { at: new Date(from), messageId: '', listener: '' }
      for (;;) {
        const rows = await page(after)
        for (const row of rows) {
          const key = `${row.mensaje_id}\0${row.listener}`
          const known = given.get(key)
          if (known && known.actualizado >= row.actualizado && known.estado === row.estado) continue
          given.set(key, row)
          fresh.push(shown(row))
        }
        if (rows.length < PAGE) break
        after = placeOf(rows.at(-1)!)
      }
      newest = Math.max(newest, fresh.at(-1)?.actualizado.getTime() ?? 0)
      from = Math.max(start.getTime(), newest - OVERLAP)
      given = new Map([...given].filter(([, row]) => row.actualizado.getTime() >= from))
      return fresh
    },
  }
}

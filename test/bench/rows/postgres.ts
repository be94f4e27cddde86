/** Writing the audit: the program's own writer against COPY of the rows that it wrote, into tables with the same indexes. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ulid } from 'ulid'
import { type AuditEvent, type DeliveryState, toldAttempt } from '../../../src/audit/event.ts'
import { createPostgresBackend } from '../../../src/audit/postgres.ts'
import { loadConfig } from '../../../src/config/load.ts'
import type { Message } from '../../../src/model/message.ts'
import { Installation } from '../installation.ts'
import { attempt, body } from '../payload.ts'
import type { Contender, Readings, Row } from '../row.ts'
import type { Bench } from '../scene.ts'

const FOLLOWING = 'resthooks, al corriente'
const BEHIND = 'resthooks, con cola acumulada'
const COPY = 'límite: COPY'
const TABLES = ['mensaje', 'entrega', 'intento'] as const
/** Events in one write, as the worker reads them from the stream. */
const BATCH = 2_000
const MESSAGES_A_SECOND = 4_000
/** By their times: equal ones share an entry in an index, and how many are equal must not depend on how fast they are made here. */
const MESSAGES_A_MS = 8
const BEGAN_AT = Date.now()

export const postgres: Row = {
  name: 'postgres',
  title: 'Auditoría en Postgres: filas de mensaje, entrega e intento (una de cada por mensaje, cuerpo de 1 KB)',
  lines: [
    { key: 'rate', label: 'filas', unit: 'per second' },
    { key: 'size', label: 'disco por intento, con índices', unit: 'bytes' },
    { key: 'wal', label: 'WAL por intento', unit: 'bytes' },
  ],
  goals: () => [
    ...[FOLLOWING, BEHIND].map((who) => ({ kind: 'ratio', line: 'rate', who, to: COPY, least: 0.5 }) as const),
    { kind: 'at most', line: 'size', who: FOLLOWING, value: 2400 },
    { kind: 'at most', line: 'wal', who: FOLLOWING, value: 2600 },
  ],
  contenders: async (bench) => {
    const count = Math.round(MESSAGES_A_SECOND * bench.options.seconds)
    const source = await Installation.create(bench, {})
    return [
      writer(bench, source, FOLLOWING, following(count), count),
      writer(bench, source, BEHIND, behind(count), count),
      copyAlone(bench, await auditCopy(bench, count, source), count),
    ]
  },
}

/** Each message's attempt a little after it: the worker keeps up, and most of a batch is over when it is written. */
function following(count: number): AuditEvent[] {
  const lag = 100
  const pairs = Array.from({ length: count }, (_, number) => eventsOf(number))
  return pairs.flatMap(([message], number) => {
    const earlier = number >= lag ? [pairs[number - lag]![1]] : []
    const last = number === count - 1 ? pairs.slice(-lag).map(([, attempt]) => attempt) : []
    return [message, ...earlier, ...last]
  })
}

/** All messages first, their attempts later: a batch of thousands was dispatched at once, and every delivery is updated. */
function behind(count: number): AuditEvent[] {
  const pairs = Array.from({ length: count }, (_, number) => eventsOf(number))
  return [...pairs.map(([message]) => message), ...pairs.map(([, attempt]) => attempt)]
}

function writer(
  bench: Bench,
  installation: Installation,
  who: string,
  events: readonly AuditEvent[],
  count: number,
): Contender {
  const config = loadConfig({ environment: installation.environment })
  return {
    who,
    role: 'own',
    measure: async () => {
      await installation.truncate()
      const backend = createPostgresBackend(config.audit, config)
      try {
        // The first write looks at the encoding and connects.
        await backend.write([])
        return await measured(bench, installation.schema, count, async () => {
          for (let at = 0; at < events.length; at += BATCH) await backend.write(events.slice(at, at + BATCH))
        })
      } finally {
        await backend.close()
      }
    },
  }
}

/** COPY of the rows that a writer wrote, for whoever wants to know what that alone costs. */
export interface AuditCopy {
  /** Writes the rows where they were not written yet, and empties the tables that they go into. */
  prepare(): Promise<void>
  run(): Promise<void>
  readonly schema: string
  end(): Promise<void>
}

/** @param count messages, with a delivery and an attempt each */
export async function auditCopy(bench: Bench, count: number, written?: Installation): Promise<AuditCopy> {
  const source = written ?? (await Installation.create(bench, {}))
  const target = await Installation.create(bench, {})
  let rows: readonly Buffer[] | null = null
  return {
    schema: target.schema,
    prepare: async () => {
      rows ??= await copiesOf(bench, source, count)
      await target.truncate()
    },
    run: async () => {
      const sql = await bench.sql.reserve()
      // As the writer says it: else a trigger counts each attempt by hour, as for a worker of before.
      await sql`SET resthooks.resumen = 'escrito'`
      for (const [i, table] of TABLES.entries()) {
        const into = await sql`COPY ${sql(target.schema)}.${sql(table)} FROM STDIN`.writable()
        await pipeline(Readable.from([rows![i]!]), into)
      }
      await sql`RESET resthooks.resumen`
      sql.release()
    },
    end: async () => {
      await source.end()
      await target.end()
    },
  }
}

function copyAlone(bench: Bench, copy: AuditCopy, count: number): Contender {
  return {
    who: COPY,
    role: 'limit',
    measure: async () => {
      await copy.prepare()
      return measured(bench, copy.schema, count, () => copy.run())
    },
    end: () => copy.end(),
  }
}

/** The rows of the tables as COPY gives them. */
async function copiesOf(bench: Bench, source: Installation, count: number): Promise<Buffer[]> {
  const { sql } = bench
  // Where COPY comes first, its rows must be written first.
  if ((await source.attempts()) !== count) await writer(bench, source, FOLLOWING, following(count), count).measure()
  const copies: Buffer[] = []
  for (const table of TABLES) {
    // By way of a file of the server: the driver's own stream may leave its connection paused after the last row.
    const file = join(bench.postgres.folder, `copia_${table}`)
    await sql.unsafe(`COPY (SELECT * FROM ${source.schema}.${table}) TO '${file}'`)
    copies.push(await readFile(file))
    await rm(file)
  }
  return copies
}

async function measured(bench: Bench, schema: string, count: number, write: () => Promise<void>): Promise<Readings> {
  const { sql } = bench
  await sql`CHECKPOINT`
  const walAt = async () => {
    const [row] = await sql`SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS bytes`
    return Number(row!.bytes)
  }
  const sizeOf = async () => {
    const [row] = await sql`
      SELECT sum(pg_total_relation_size(c.oid))::float8 AS bytes
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = ${schema} AND c.relkind = 'r' AND c.relname ~ '^(mensaje|entrega|intento)'`
    return Number(row!.bytes)
  }
  const [walBefore, sizeBefore] = [await walAt(), await sizeOf()]
  const begun = performance.now()
  await write()
  const seconds = (performance.now() - begun) / 1000
  const wal = (await walAt()) - walBefore
  for (const table of TABLES) {
    const [row] = await sql`SELECT count(*)::int AS count FROM ${sql(schema)}.${sql(table)}`
    if (row!.count !== count) throw new Error(`${row!.count} rows in ${table}, ${count} were written`)
  }
  return { rate: (count * TABLES.length) / seconds, size: ((await sizeOf()) - sizeBefore) / count, wal: wal / count }
}

/** A message and its successful attempt, as a worker writes them. */
function eventsOf(number: number): readonly [AuditEvent, AuditEvent] {
  const at = BEGAN_AT + Math.floor(number / MESSAGES_A_MS)
  const message: Message = {
    id: ulid(),
    event: `compra.${['alta', 'baja', 'cambio'][number % 3]}`,
    body: Buffer.from(body(number)),
    contentType: 'application/json',
    method: null,
    path: null,
    headers: {},
    createdAt: new Date(at),
    key: null,
    origin: 'banco resthooks send',
    onlyListener: null,
    notBefore: null,
    depth: 0,
  }
  const state: DeliveryState = {
    messageId: message.id,
    listener: 'proveedores',
    state: 'exitosa',
    attempts: 1,
    nextAttemptAt: null,
    reason: null,
    action: null,
    version: 1,
  }
  return [
    { type: 'message', at, receivedAt: at, message, listeners: [state.listener], keepBody: true },
    {
      type: 'attempt',
      replaces: null,
      at,
      state,
      attemptMs: 12,
      attempt: toldAttempt(attempt(message.id, state.listener, at)),
    },
  ]
}

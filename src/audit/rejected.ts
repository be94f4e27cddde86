/**
 * What the database refused for its content, and what this version did not understand, kept whole beside the rest.
 *
 * Written as ASCII JSON, which every encoding holds; where even that is refused (larger than a text can be), its
 * beginning is kept.
 */
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { StrangeEntry } from './backend.ts'
import type { Session } from './database.ts'
import { textRules } from './encoding.ts'
import { type AuditEvent, idsOf } from './event.ts'
import { sqlState } from './trouble.ts'

/** Postgres holds texts of up to 1 GB, a JavaScript string about half of it; beyond this the beginning is kept. */
const LARGEST = 64 * 1024 * 1024

/** Sets `event` aside with the reason; doing it again changes nothing. */
export async function keepRejected(session: Session, event: AuditEvent, why: Error) {
  await keep(session, eventJson(event), sqlState(why), why.message)
}

/**
 * Sets entries of the stream aside that are of another version, or of nobody; doing it again changes nothing. The fields
 * (`campos`: names and values in turn) are enough to put the entry back.
 */
export async function keepStrange(session: Session, entries: readonly StrangeEntry[]) {
  for (const { streamId, fields, why } of entries) {
    const campos = fields.map((field) =>
      isUtf8(field) ? field.toString('utf8') : { base64: field.toString('base64') },
    )
    const motivo = `esta versión no entiende esta entrada del flujo de auditoría: ${why}`
    await keep(session, asciiJson({ entrada: streamId, campos }), null, motivo)
  }
}

async function keep(session: Session, whole: string, state: string | null, why: string): Promise<void> {
  const { instancia, proyecto } = session.scope
  const { text } = textRules(session.encoding, session.encoding !== 'UTF8')
  const json = whole.length > LARGEST ? whole.slice(0, LARGEST) : whole
  const fingerprint = createHash('sha256').update(`${instancia}\n${proyecto}\n${whole}`).digest('hex')
  await session.query(
    `INSERT INTO ${session.table('auditoria_rechazada')} (huella, instancia, proyecto, evento_json, sqlstate, motivo)
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
    [fingerprint, ...session.owner, json, state, text(why)],
  )
}

/** The deliveries whose state changed in an event that was refused: what their rows say is old. */
export async function rejectedDeliveries(session: Session): Promise<{ messageId: string; listener: string }[]> {
  const rows = await session.query<{ evento_json: string }>(
    `SELECT evento_json FROM ${session.table('auditoria_rechazada')}
      WHERE instancia = $1 AND proyecto = $2 AND length(evento_json) < 1000000 ORDER BY fecha DESC LIMIT 10000`,
    session.owner,
  )
  return rows.flatMap(({ evento_json }) => {
    try {
      const { state } = JSON.parse(evento_json) as { state?: { messageId: string; listener: string } | null }
      return state ? [{ messageId: state.messageId, listener: state.listener }] : []
    } catch {
      return []
    }
  })
}

/** The event as JSON of ASCII alone; bytes as `{"base64": …}`. */
function eventJson(event: AuditEvent): string {
  try {
    return asciiJson(event)
  } catch (error) {
    // Longer than a string can be, or not JSON at all: what it was about is still worth keeping.
    return JSON.stringify({ type: event.type, at: event.at, ...idsOf(event), perdido: String(error) })
  }
}

function asciiJson(value: object): string {
  return JSON.stringify(value, bytesAsBase64).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function bytesAsBase64(this: unknown, name: string, value: unknown): unknown {
  const original = (this as Record<string, unknown>)[name]
  if (Buffer.isBuffer(original)) return { base64: original.toString('base64') }
  return typeof value === 'bigint' ? String(value) : value
}

/** A row of `auditoria_rechazada`. */
export interface RejectedRow {
  readonly huella: string
  readonly evento_json: string
  readonly sqlstate: string | null
  readonly motivo: string
  readonly fecha: Date
}

const ROWS = 200

/** Newest first, `after` the last of the page before. */
export function rejectedPage(session: Session, after: RejectedRow | null): Promise<RejectedRow[]> {
  // To the millisecond, as it is read.
  const time = `date_trunc('milliseconds', fecha)`
  const beyond = after === null ? '' : `AND (${time}, huella) < ($3::timestamptz, $4)`
  return session.query<RejectedRow>(
    `SELECT huella, evento_json, sqlstate, motivo, fecha FROM ${session.table('auditoria_rechazada')}
      WHERE instancia = $1 AND proyecto = $2 ${beyond} ORDER BY ${time} DESC, huella DESC LIMIT ${ROWS}`,
    after === null ? session.owner : [...session.owner, after.fecha, after.huella],
  )
}

/** @returns whether it was there */
export async function deleteRejected(session: Session, fingerprint: string): Promise<boolean> {
  const rows = await session.query(
    `DELETE FROM ${session.table('auditoria_rechazada')} WHERE instancia = $1 AND proyecto = $2 AND huella = $3 RETURNING 1`,
    [...session.owner, fingerprint],
  )
  return rows.length > 0
}

/** The same row by another name: while its event is written again, one of the two is always there. */
export async function renameRejected(session: Session, { huella }: RejectedRow, name: string): Promise<void> {
  const table = session.table('auditoria_rechazada')
  await session.query(
    `INSERT INTO ${table} (huella, instancia, proyecto, evento_json, sqlstate, motivo, fecha)
     SELECT $4, instancia, proyecto, evento_json, sqlstate, motivo, fecha FROM ${table}
      WHERE instancia = $1 AND proyecto = $2 AND huella = $3 ON CONFLICT DO NOTHING`,
    [...session.owner, huella, name],
  )
  await deleteRejected(session, huella)
}

/** What a row keeps: an event, an entry of the stream (its fields), or but a beginning that nobody can use. */
export function keptIn({ evento_json }: Pick<RejectedRow, 'evento_json'>): Kept {
  let json: { campos?: (string | Buffer)[]; perdido?: unknown } & Partial<AuditEvent>
  try {
    json = JSON.parse(evento_json, bytesAgain)
  } catch {
    return { kind: 'lost' }
  }
  if (Array.isArray(json.campos))
    return { kind: 'entry', fields: json.campos.map((field) => Buffer.from(field as string)) }
  if (json.type === undefined || json.perdido !== undefined) return { kind: 'lost' }
  const event = json as AuditEvent
  if (event.type !== 'message') return { kind: 'event', event }
  const { createdAt, notBefore } = event.message
  const message = {
    ...event.message,
    createdAt: new Date(createdAt),
    notBefore: notBefore === null ? null : new Date(notBefore),
  }
  return { kind: 'event', event: { ...event, message } }
}

type Kept =
  | { readonly kind: 'event'; readonly event: AuditEvent }
  | { readonly kind: 'entry'; readonly fields: readonly Buffer[] }
  | { readonly kind: 'lost' }

function bytesAgain(_: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value
  const { base64, ...rest } = value as { base64?: unknown }
  return typeof base64 === 'string' && Object.keys(rest).length === 0 ? Buffer.from(base64, 'base64') : value
}

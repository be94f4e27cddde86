/**
 * The place where the audit ends up. Postgres is the one shipped (`postgres.ts`); the worker knows only this.
 */
import type { AuditEvent } from './event.ts'

/** An entry of the audit stream: its id, its fields' names and values in turn, and what there is not to understand. */
export interface StrangeEntry {
  readonly streamId: string
  readonly fields: readonly Buffer[]
  readonly why: string
}

export interface AuditBackend {
  /**
   * Writes a batch, all or nothing, and returns after COMMIT. Writing an event again changes nothing.
   * A row that the database refuses for its content is set aside in `auditoria_rechazada` and does not stop the rest.
   * @throws Unavailable when the database cannot be reached or cannot serve now: nothing was lost, try again later
   * @throws ConfigError when it never will without a person (schema missing, no rights, wrong password)
   */
  write(events: readonly AuditEvent[]): Promise<void>
  /**
   * Keeps entries that this version does not understand whole, in `auditoria_rechazada`, all or nothing; again changes nothing.
   * @throws like `write`
   */
  setAside(entries: readonly StrangeEntry[]): Promise<void>
  /** Makes the partitions of this month and the next ones, where missing. */
  ensurePartitions(): Promise<void>
  /** What to say where the schema is older than this program, which goes on all the same; null: it is not, or may not be seen. */
  olderSchema(): Promise<string | null>
  /** Gives the connections up, within a bounded time. */
  close(): Promise<void>
}

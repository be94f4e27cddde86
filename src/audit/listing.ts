/**
 * Deliveries by filter: what `auditoria` lists and follows, and what `reenviar` and `descartar` choose from.
 *
 * Newest first by `creado`, which never changes, so that paging is stable; following goes by `actualizado`.
 */
import { arrayLiteral } from './columns.ts'
import type { Parameter, Session } from './database.ts'
import { type TextRules, textRules } from './encoding.ts'
import type { DeliveryStateName } from './event.ts'
import { identifier } from './migrate.ts'
import type { Scope } from './tables.ts'

/** All that are given must hold. */
export interface DeliveryFilters {
  /** Pattern; `*` matches any run of characters. */
  readonly event?: string | undefined
  readonly listener?: string | undefined
  readonly states?: readonly DeliveryStateName[] | undefined
  /** Bounds of `creado`: from (inclusive), until (exclusive). */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  readonly messageId?: string | undefined
}

/** A delivery as the listings show it: the columns of `entrega`, and its message's event (null when that row is missing). */
export interface DeliveryListing {
  readonly mensaje_id: string
  readonly evento: string | null
  readonly listener: string
  readonly estado: DeliveryStateName
  readonly intentos: number
  readonly proximo_intento: Date | null
  readonly motivo: string | null
  readonly creado: Date
  readonly actualizado: Date
}

/** A listing's place in an order by time. */
export interface Place {
  readonly at: Date
  readonly messageId: string
  readonly listener: string
}

/**
 * One page.
 * @param order `newest`: by `creado` downwards; `oldest`: upwards; `changes`: by `actualizado` upwards
 * @param after the last row of the page before
 */
export async function listDeliveries(
  session: Session,
  schema: string,
  scope: Scope,
  filters: DeliveryFilters,
  { order, limit, after }: { order: 'newest' | 'oldest' | 'changes'; limit: number; after?: Place | undefined },
): Promise<DeliveryListing[]> {
  const rules = textRules(session.encoding)
  const names = filters.event === undefined ? null : await eventNames(session, schema, scope, filters.event, rules)
  if (names?.length === 0) return []
  const sql = new Conditions()
  sql.add('e.instancia = ?', rules.key(scope.instancia))
  sql.add('e.proyecto = ?', rules.key(scope.proyecto))
  if (filters.listener !== undefined) sql.add('e.listener = ?', rules.key(filters.listener))
  if (filters.messageId !== undefined) sql.add('e.mensaje_id = ?', rules.key(filters.messageId))
  if (filters.since) sql.add('e.creado >= ?', filters.since)
  if (filters.until) sql.add('e.creado < ?', filters.until)
  if (filters.states) {
    sql.add('e.estado = ANY (?::text[])', arrayLiteral(filters.states))
    // Said again in the words of the partial index.
    if (!filters.states.includes('exitosa')) sql.add(`e.estado <> 'exitosa'`)
  }
  const time = order === 'changes' ? 'actualizado' : 'creado'
  const [than, way] = order === 'newest' ? ['<', 'DESC'] : ['>', 'ASC']
  if (after) {
    sql.add(`e.${time} ${than}= ?`, after.at)
    sql.add(`(e.${time}, e.mensaje_id, e.listener) ${than} (?, ?, ?)`, after.at, after.messageId, after.listener)
  }
  const table = (name: string) => `${identifier(schema)}.${name}`
  const ofMessage = `FROM ${table('mensaje')} m WHERE m.id = e.mensaje_id AND m.instancia = e.instancia AND m.proyecto = e.proyecto`
  if (names) sql.add(`EXISTS (SELECT ${ofMessage} AND m.evento = ANY (?::text[]))`, arrayLiteral(names))
  return session.query<DeliveryListing>(
    `SELECT e.mensaje_id, (SELECT m.evento ${ofMessage} ORDER BY m.recibido DESC LIMIT 1) AS evento, e.listener,
            e.estado, e.intentos, e.proximo_intento, e.motivo, e.creado, e.actualizado
       FROM (SELECT e.* FROM ${table('entrega')} e WHERE ${sql.text}
              ORDER BY e.${time} ${way}, e.mensaje_id ${way}, e.listener ${way} LIMIT ${Math.trunc(limit)}) e
      ORDER BY e.${time} ${way}, e.mensaje_id ${way}, e.listener ${way}`,
    sql.parameters,
  )
}

/** More distinct events than this are no vocabulary: somebody puts ids into their names. */
const MOST_NAMES = 2_000

/**
 * The events that a pattern means, by hopping from name to name along the index: a pattern such as `*.alta` then costs as
 * many steps as there are names, not as there are messages.
 */
async function eventNames(session: Session, schema: string, scope: Scope, pattern: string, rules: TextRules) {
  if (!pattern.includes('*')) return [rules.text(pattern)]
  const prefix = rules.text(pattern.slice(0, pattern.indexOf('*')))
  const like = rules
    .text(pattern)
    .replace(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
  const next = (bound: string) =>
    `SELECT min(evento) FROM ${identifier(schema)}.mensaje WHERE instancia = $1 AND proyecto = $2 AND evento ${bound}`
  const rows = await session.query<{ evento: string }>(
    `WITH RECURSIVE nombre (evento, paso) AS (
       SELECT (${next('>= $3')}), 1
       UNION ALL
       SELECT (${next('> nombre.evento')}), paso + 1 FROM nombre
        WHERE evento IS NOT NULL AND left(evento, length($3)) = $3 AND paso <= ${MOST_NAMES}
     ) SELECT evento FROM nombre WHERE evento LIKE $4`,
    [rules.key(scope.instancia), rules.key(scope.proyecto), prefix, like],
  )
  if (rows.length <= MOST_NAMES) return rows.map(({ evento }) => evento)
  const all = await session.query<{ evento: string }>(
    `SELECT DISTINCT evento FROM ${identifier(schema)}.mensaje
      WHERE instancia = $1 AND proyecto = $2 AND evento >= $3 AND evento LIKE $4`,
    [rules.key(scope.instancia), rules.key(scope.proyecto), prefix, like],
  )
  return all.map(({ evento }) => evento)
}

/** Conditions joined by AND, their `?` numbered as they come. */
class Conditions {
  readonly parameters: Parameter[] = []
  readonly #parts: string[] = []

  add(condition: string, ...values: Parameter[]) {
    this.#parts.push(condition.replaceAll('?', () => `$${this.parameters.push(values.shift()!)}`))
  }

  get text(): string {
    return this.#parts.join(' AND ')
  }
}

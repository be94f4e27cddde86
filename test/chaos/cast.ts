/**
 * Who listens, and how each behaves: the same message always meets the same fate, so the ledger knows what to expect.
 */
import type { IniValue } from '../support/config-files.ts'
import type { Arena } from './arena.ts'
import { type Behaviour, fateOf } from './wire.ts'

export interface Role {
  readonly name: string
  readonly behaviour: Behaviour
  readonly settings: Record<string, IniValue>
  /** Does it get this event? */
  wants(event: string): boolean
  /** How a delivery of this message must end. */
  expects(id: string): 'exitosa' | 'fallida'
}

export interface Cast {
  readonly names: readonly string[]
  readonly roles: readonly Role[]
  /** Events that the senders send, in turn. */
  readonly events: readonly string[]
}

const always = () => 'exitosa' as const

/** Fails for good for one message in twenty, and once or twice for one in five. */
const stumbling: Behaviour = ({ id, attempt }) => {
  const fate = fateOf(id)
  if (fate < 0.05) return { status: 422, body: '{"error":"rechazado"}' }
  if (fate < 0.15 && attempt <= 2) return { status: 503 }
  if (fate < 0.25 && attempt === 1) return { status: 500, body: 'x'.repeat(2000) }
  return { status: 200, delay: 5 }
}

const quick: Role = {
  name: 'rapido',
  behaviour: ({ id }) => ({ status: 200, delay: Math.round(fateOf(id) * 15), body: '{"ok":true}' }),
  settings: { eventos: '*', concurrencia: 10 },
  wants: () => true,
  expects: always,
}

const slow: Role = {
  name: 'lento',
  behaviour: ({ id }) => ({ status: 201, delay: 40 + Math.round(fateOf(id) * 160) }),
  settings: { eventos: 'pedido.*', concurrencia: 8 },
  wants: (event) => event.startsWith('pedido.'),
  expects: always,
}

const failing: Role = {
  name: 'tropieza',
  behaviour: stumbling,
  settings: { eventos: 'pedido.*', concurrencia: 8, corte_porcentaje: 0, on_failure: 'evento:rechazo.avisado' },
  wants: (event) => event.startsWith('pedido.'),
  expects: (id) => (fateOf(id) < 0.05 ? 'fallida' : 'exitosa'),
}

/** One at a time, in order of arrival; every tenth fails once, and the others wait behind it. */
const orderly: Role = {
  name: 'ordenado',
  behaviour: ({ id, attempt }) => (attempt === 1 && fateOf(id) > 0.95 ? { status: 500 } : { status: 200 }),
  settings: { eventos: 'orden.*', orden: 'estricto', corte_porcentaje: 0 },
  wants: (event) => event.startsWith('orden.'),
  expects: always,
}

export const usualCast: Cast = {
  roles: [quick, slow, failing, orderly],
  names: ['rapido', 'lento', 'tropieza', 'ordenado'],
  events: ['pedido.alta', 'aviso.nuevo', 'pedido.baja', 'orden.paso', 'aviso.nuevo'],
}

/** Gives the cast its servers and its sections of the ini. */
export async function castOf(arena: Arena): Promise<void> {
  for (const { name, behaviour, settings } of arena.cast.roles) {
    const { url } = await arena.wire.listener(name, behaviour)
    arena.sections[`listener ${name}`] = { url, ...settings }
  }
}

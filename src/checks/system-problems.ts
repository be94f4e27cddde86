/**
 * What is wrong with the whole, not with one listener: workers, Redis, Postgres, what was lost, what nobody hears. Pure; what
 * `verificar` says of the same thing is said here in the same words.
 */
import type { Overview } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import { eventMatcher } from '../config/subscriptions.ts'
import type { ResthooksError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { nearest } from '../model/nearest.ts'
import { amount, count, duration } from '../model/words.ts'
import { type Backlog, bytesLimit, whyStopped } from '../queue/backlog.ts'
import type { Depths } from '../queue/depths.ts'
import { isAlive, isLate, type WorkerInfo } from '../queue/workers.ts'
import type { Finding } from './finding.ts'
import type { Problem, Severity } from './listener-problem.ts'
import { checkLoaded } from './queue.ts'
import { type Stray, strayRemedy, strayText } from './stray.ts'

interface SystemFacts {
  readonly config: Pick<Config, 'active' | 'audit' | 'listeners'>
  readonly depths: Depths
  readonly backlog: Backlog
  /** What is wrong with Redis as a server. */
  readonly redis: readonly Finding[]
  /** Null: Postgres could not be asked, and `trouble` says why. */
  readonly overview: Overview | null
  readonly trouble: string | null
  /** Deliveries that Redis should hold and does not. */
  readonly missing: number | null
  /** Nothing is known of this project. */
  readonly stray: Stray | null
  /** Redis time. */
  readonly now: number
}

/** The inbox is looked at all the time: what lies there longer is stuck. */
const INBOX_LATE: Millis = 60_000
/** Postgres takes the audit within a second or two. */
const AUDIT_LATE: Millis = 2 * 60_000
export const UNHEARD_DAYS = 7

export function systemProblems(facts: SystemFacts): Problem[] {
  const { depths, config } = facts
  return [
    ...(config.active ? [] : [inactive()]),
    ...strayProblems(facts),
    ...workerProblems(facts),
    ...lossProblems(facts),
    ...facts.redis.filter(({ resultado }) => resultado !== 'ok').map((finding) => fromFinding('redis', finding)),
    ...auditProblems(facts),
    ...inboxProblems(facts),
    ...unheardProblems(facts),
    ...depths.claves_rotas
      .filter(({ listener }) => listener === null)
      .map(({ clave, tipo, debe_ser }) =>
        problem(
          'clave_rota',
          'mal',
          `${clave} es de tipo ${tipo} y debe ser ${debe_ser}: no se toma ni se entrega nada`,
          `borrarla (redis-cli DEL '${clave}'); luego: recuperar`,
        ),
      ),
  ]
}

function inactive(): Problem {
  return problem('inactivo', 'atencion', 'resthooks_activo = 0: no se encola ni se entrega nada', 'ponerlo en 1')
}

/** What each is about. */
const SUBJECTS: Readonly<Record<string, string>> = {
  sin_worker: 'workers',
  worker_atrasado: 'workers',
  worker_muerto: 'workers',
  configuracion: 'workers',
  inactivo: 'proyecto',
  sin_rastro: 'proyecto',
  faltan: 'Redis',
  redis: 'Redis',
  redis_ausente: 'Redis',
  clave_rota: 'Redis',
  postgres: 'Postgres',
  auditoria_detenida: 'auditoría',
  auditoria_atrasada: 'auditoría',
  auditoria_rechazada: 'auditoría',
  entrada: 'entrada',
  entrada_invalida: 'entrada',
  callbacks: 'callbacks',
  sin_listener: 'eventos',
}

function problem(
  clase: string,
  gravedad: Severity,
  causa: string,
  que_hacer: string,
  more: Partial<Pick<Problem, 'desde' | 'esperan' | 'sigue'>> = {},
): Problem {
  const asunto = SUBJECTS[clase] ?? clase
  return { clase, gravedad, listener: null, asunto, causa, desde: null, esperan: null, sigue: null, que_hacer, ...more }
}

function fromFinding(clase: string, { resultado, detalle, que_hacer, verificacion }: Finding): Problem {
  const gravedad = resultado === 'error' ? 'mal' : 'atencion'
  return problem(clase, gravedad, `${verificacion}: ${detalle}`, que_hacer ?? '-')
}

/** No graver than that nobody works for it, which follows; where there is no other project this one is new. */
function strayProblems({ stray, config }: SystemFacts): Problem[] {
  if (stray === null) return []
  const gravedad = stray.others.length === 0 ? 'nota' : config.active ? 'mal' : 'atencion'
  return [problem('sin_rastro', gravedad, strayText(stray), strayRemedy(stray))]
}

function workerProblems({ depths, now, config }: SystemFacts): Problem[] {
  const alive = depths.workers.filter((worker) => isAlive(worker, now))
  const problems: Problem[] = []
  if (alive.length === 0) {
    const waiting = waitingIn(depths)
    const last = Math.max(0, ...depths.workers.map(({ visto }) => visto))
    const desde = last > 0 ? new Date(last) : null
    const gravedad = config.active ? 'mal' : 'atencion'
    problems.push(
      problem('sin_worker', gravedad, 'no hay ningún worker en marcha', 'iniciar-workers', { desde, esperan: waiting }),
    )
  }
  for (const worker of alive) {
    if (isLate(worker, now)) {
      const causa = `${shortName(worker)} no da señales de vida hace ${duration(now - worker.visto)}`
      const desde = new Date(worker.visto)
      problems.push(
        problem('worker_atrasado', 'atencion', causa, 'mirar su registro, y la carga de esa máquina', { desde }),
      )
    }
  }
  for (const worker of depths.workers) {
    if (isAlive(worker, now)) continue
    const causa = `${shortName(worker)} murió sin despedirse${worker.en_curso > 0 ? `, con ${worker.en_curso} en curso` : ''}`
    // Its work is somebody else's by now: a note for as long as it is known.
    problems.push(problem('worker_muerto', 'nota', causa, 'mirar su registro', { desde: new Date(worker.visto) }))
  }
  for (const finding of checkLoaded(alive)) problems.push(fromFinding('configuracion', finding))
  return problems
}

/** `vm:4231` */
export function shortName({ host, pid, worker }: Pick<WorkerInfo, 'host' | 'pid' | 'worker'>): string {
  return host && pid ? `${host}:${pid}` : worker
}

export function waitingIn({ listeners, entrada, en_despacho }: Depths): number {
  return listeners.reduce((sum, { en_cola, reintentos }) => sum + en_cola + reintentos, entrada + en_despacho)
}

function lossProblems({ missing, depths }: SystemFacts): Problem[] {
  if (missing === null || missing === 0) return []
  const { continuidad } = depths
  const desde = continuidad.kind === 'lost' && continuidad.since !== null ? new Date(continuidad.since) : null
  const causa = `Redis perdió datos: faltan ${amount(missing)} entregas que la auditoría da por inconclusas`
  return [problem('faltan', 'mal', causa, 'recuperar', { desde, esperan: missing })]
}

function auditProblems({ trouble, backlog, config, depths, overview, now }: SystemFacts): Problem[] {
  const problems: Problem[] = []
  const behind = depths.auditoria_atraso_ms
  const rows = depths.auditoria_pendiente
  const desde = behind === null ? null : new Date(now - behind)
  const stopped = whyStopped(backlog, config.audit, { away: trouble !== null, stopped: false })
  const waits = rows > 0 ? `; ${count(rows, 'fila espera', `filas esperan`)} en Redis` : ''
  if (stopped !== null) {
    const room = stopped === 'max_pendientes' ? config.audit.maxPending : bytesLimit(config.audit, backlog.maxMemory)
    const causa = `auditoría pendiente: ${amount(rows)} filas, más que ${stopped} (${amount(room)}): las entregas están detenidas`
    problems.push(problem('auditoria_detenida', 'mal', causa, 'verificar', { desde, esperan: rows }))
  } else if (trouble !== null) {
    problems.push(
      problem('postgres', 'mal', `${trouble.replace(/\. .*|\.$/s, '')}${waits}`, 'verificar', { desde, esperan: rows }),
    )
  } else if (behind !== null && behind > AUDIT_LATE) {
    const causa = `la auditoría va ${duration(behind)} atrás: ${amount(rows)} filas esperan a Postgres`
    problems.push(problem('auditoria_atrasada', 'atencion', causa, 'verificar', { desde, esperan: rows }))
  }
  return [...problems, ...(overview === null ? [] : rejectedProblems(overview))]
}

function rejectedProblems({ rejected }: Overview): Problem[] {
  if (rejected === 0) return []
  const causa = `${count(rejected, 'fila', 'filas')} que Postgres no aceptó están en auditoria_rechazada`
  return [problem('auditoria_rechazada', 'atencion', causa, 'entradas')]
}

/** What is wrong as far as the audit tells it, where Redis could not be asked. */
export function problemsWithoutRedis(trouble: ResthooksError, overview: Overview, config: Config): Problem[] {
  const remedy =
    trouble.code === 'NO_DISPONIBLE'
      ? 'mirar ese servidor y su registro; lo pendiente sigue en él'
      : 'corregir instalador.env o resthooks.ini'
  return [
    ...(config.active ? [] : [inactive()]),
    problem('redis_ausente', 'mal', trouble.message, remedy, { esperan: overview.unfinished }),
    ...rejectedProblems(overview),
    ...unheardProblems({ overview, config }),
  ]
}

function inboxProblems({ depths, now, config }: SystemFacts): Problem[] {
  const problems: Problem[] = []
  const { entrada, entrada_invalida, mas_antigua_ms, callbacks } = depths
  if (config.active && entrada > 0 && mas_antigua_ms !== null && mas_antigua_ms > INBOX_LATE) {
    const desde = new Date(now - mas_antigua_ms)
    const causa = 'mensajes de la entrada que nadie reparte'
    problems.push(
      problem('entrada', 'atencion', causa, 'iniciar-workers, o mirar su registro', { desde, esperan: entrada }),
    )
  }
  if (entrada_invalida > 0) {
    const causa = count(entrada_invalida, 'entrada que no se pudo entender', 'entradas que no se pudieron entender')
    problems.push(problem('entrada_invalida', 'atencion', causa, 'entradas'))
  }
  if (callbacks.fallidas > 0) {
    const causa = `${count(callbacks.fallidas, 'callback falló', 'callbacks fallaron')} definitivamente`
    problems.push(problem('callbacks', 'atencion', causa, 'entradas'))
  } else if (callbacks.reintentos > 0) {
    const causa = `${count(callbacks.reintentos, 'callback falla y se reintenta', 'callbacks fallan y se reintentan')}`
    const sigue = callbacks.proximo_reintento && { que: 'próximo intento', cuando: callbacks.proximo_reintento }
    problems.push(
      problem('callbacks', 'nota', causa, 'mirar el registro de los workers', { esperan: callbacks.reintentos, sigue }),
    )
  }
  return problems
}

function unheardProblems({ overview, config }: Pick<SystemFacts, 'overview' | 'config'>): Problem[] {
  if (overview === null || overview.unheard.length === 0) return []
  const total = overview.unheard.reduce((sum, { cantidad }) => sum + cantidad, 0)
  const [first] = overview.unheard
  const near = nearestPattern(first!.evento, config)
  const hint = near === null ? '' : `; ¿«${near.pattern}» de ${near.listener}?`
  const others = overview.unheard.length > 1 ? ` y ${overview.unheard.length - 1} más` : ''
  const causa = `${count(total, 'mensaje', 'mensajes')} en ${UNHEARD_DAYS} días sin listener: «${first!.evento}»${others}${hint}`
  return [problem('sin_listener', 'atencion', causa, 'auditoria --sin-listener')]
}

/** The subscription that was probably meant for that event, but for a mistyped letter. */
export function nearestPattern(
  event: string,
  { listeners }: Pick<Config, 'listeners'>,
): { readonly listener: string; readonly pattern: string } | null {
  const active = [...listeners.values()].filter((listener) => listener.active)
  const near = nearest(
    event,
    active.flatMap(({ events }) => events),
  )
  const owner = near === null ? undefined : active.find(({ events }) => events.includes(near))
  return owner ? { listener: owner.name, pattern: near! } : null
}

/** A subscription that no event fits, and one that was probably meant. */
interface Mistyped {
  readonly listener: string
  readonly pattern: string
  readonly event: string
}

/** @param events of the messages of a while: where there were none, nothing can be told */
export function mistypedPatterns(events: readonly string[], { listeners }: Pick<Config, 'listeners'>): Mistyped[] {
  return [...listeners.values()].flatMap(({ active, name, events: patterns }) =>
    patterns.flatMap((pattern) => {
      const matches = eventMatcher([pattern])
      if (!active || events.some((event) => matches(event))) return []
      const near = nearest(
        pattern,
        events.map((event) => inTheFormOf(pattern, event)),
      )
      return near === null ? [] : [{ listener: name, pattern, event: near }]
    }),
  )
}

/** `pago.emitido` as `pago.*`, to be compared with `pagos.*`. */
function inTheFormOf(pattern: string, event: string): string {
  if (!/^[^*]+\.\*$/.test(pattern)) return event
  const segments = pattern.split('.').length - 1
  return `${event.split('.').slice(0, segments).join('.')}.*`
}

/** What is stuck in the queue: entries nobody understands, audit that does not leave, workers. What holds listeners up is `attention.ts`'s. */

import type { Config } from '../config/config.ts'
import { formatSize } from '../model/quantities.ts'
import { typed } from '../model/typed.ts'
import { count, shortTime } from '../model/words.ts'
import { type Backlog, bytesLimit, readBacklog } from '../queue/backlog.ts'
import { type Depths, readDepths } from '../queue/depths.ts'
import { decodeEnvelope } from '../queue/envelope.ts'
import type { Peeked, Queue } from '../queue/queue.ts'
import { configurationHash, isAlive, otherConfigurations, type WorkerInfo } from '../queue/workers.ts'
import { aviso, error, type Finding, ok } from './finding.ts'

interface QueueFacts {
  readonly depths: Depths
  /** Those that give signs of life. */
  readonly workers: readonly WorkerInfo[]
  /** Of the newest entries of `entrada_invalida`. */
  readonly invalidReasons: readonly string[]
  readonly backlog: Backlog
  /** Of this program. */
  readonly version: string
  /** Of the files at hand. */
  readonly configuracion: string
}

const INVALID_SHOWN = 5

export async function readQueue(queue: Queue, config: Config, version: string): Promise<QueueFacts> {
  const [depths, invalid, backlog] = await Promise.all([
    readDepths(queue, config.listeners.keys()),
    queue.peek(queue.keys.inboxInvalid, 0, INVALID_SHOWN - 1),
    readBacklog(queue),
  ])
  return {
    depths,
    workers: depths.workers.filter((worker) => isAlive(worker, depths.fecha.getTime())),
    invalidReasons: invalid.map(whyInvalid),
    backlog,
    version,
    configuracion: configurationHash(config),
  }
}

/** Entries are kept whole, without the reason: it is found again. @param raw its beginning */
export function whyInvalid({ size, raw }: Peeked): string {
  if (size > raw.length) return `pesa ${size} bytes: vea max_mensaje de [workers]`
  try {
    const { message } = decodeEnvelope(raw, () => '?', new Date())
    return `${message.id} (${message.event}): se entiende; su id era el de otro que aún se entregaba, o tumbó tres veces al worker`
  } catch (cause) {
    return (cause as Error).message
  }
}

/**
 * Pure.
 * @param starters commands that start workers of this project, where this machine has what runs them
 */
export function checkQueue(
  facts: QueueFacts,
  config: Pick<Config, 'audit'>,
  starters: readonly string[] = [],
): Finding[] {
  const { depths } = facts
  return [
    ...checkWorkers(facts, starters),
    ...checkLoaded(facts.workers, facts),
    checkInvalid(facts),
    checkBacklog(facts, config),
    ...depths.claves_rotas.map(checkMistyped),
  ]
}

/** Where nothing on this machine is known to start them. */
const OTHERWISE = 'o con lo que los mantiene en marcha (systemctl start …, supervisorctl start …)'

function checkWorkers({ workers, version, depths }: QueueFacts, starters: readonly string[]): Finding[] {
  const name = 'workers'
  const waiting = depths.entrada + depths.listeners.reduce((sum, { en_cola }) => sum + en_cola, 0)
  if (workers.length === 0) {
    const text = waiting > 0 ? `no hay ninguno vivo, y esperan ${waiting} mensajes` : 'no hay ninguno vivo'
    const how = starters.join(', o ') || `${typed('iniciar-workers')}, ${OTHERWISE}`
    return [aviso(name, text, `inícielos: ${how}`)]
  }
  const versions = new Set(workers.map((worker) => worker.version))
  if (versions.size > 1 || !versions.has(version)) {
    const list = workers.map((worker) => `${worker.worker}: ${worker.version}`).join(', ')
    return [
      aviso(
        name,
        `hay versiones distintas (este programa: ${version}; ${list})`,
        'reinicie los workers para que usen la nueva',
      ),
    ]
  }
  return [ok(name, `${count(workers.length, 'vivo', 'vivos')}, versión ${version}`)]
}

type Loaded = Pick<WorkerInfo, 'worker' | 'version' | 'configuracion' | 'configuracion_rechazada'>

/**
 * Workers that do not work with what the files say, or not with the same as the others. Pure.
 * @param workers those that give signs of life
 * @param here    this program and the files at hand, where they are to be compared too
 */
export function checkLoaded(
  workers: readonly Loaded[],
  here: Pick<Loaded, 'version' | 'configuracion'> | null = null,
): Finding[] {
  const name = 'configuración de los workers'
  const names = (some: readonly Loaded[]) => some.map(({ worker }) => worker).join(', ')
  const findings = workers.flatMap(({ worker, configuracion_rechazada: refused }) => {
    if (!refused) return []
    const why = refused.motivo.replace(/\s*\n\s*/g, ' ')
    const since = shortTime(new Date(refused.desde))
    const text = `${worker} sigue con la configuración anterior: no puede usar la nueva (desde ${since}). ${why}`
    return [aviso(name, text, 'corrija los archivos; los workers los leen solos')]
  })
  const first = workers.find(({ configuracion }) => configuracion !== undefined)
  const others = first ? otherConfigurations(workers, first) : []
  if (others.length > 0) {
    const same = workers.filter((worker) => !others.includes(worker))
    const text = `no todos tienen la misma (${names(same)}; otra: ${names(others)}): un mensaje puede ir a otros listeners`
    findings.push(aviso(name, text, 'deje iguales los resthooks.ini e instalador.env de todas las máquinas'))
  }
  const unlike = here && findings.length === 0 ? otherConfigurations(workers, here) : []
  if (unlike.length > 0) {
    findings.push(
      aviso(
        name,
        `${names(unlike)} trabaja con otra que la de estos archivos`,
        'compare los archivos que lee cada uno',
      ),
    )
  }
  return findings
}

function checkInvalid({ depths, invalidReasons }: QueueFacts): Finding {
  const name = 'entrada_invalida'
  if (depths.entrada_invalida === 0) return ok(name, 'vacía')
  return aviso(
    name,
    `no se pudieron tomar: ${depths.entrada_invalida}; las últimas: ${invalidReasons.join('; ')}`,
    `corrija el programa que las envía; están enteras: ${typed('entradas')}`,
  )
}

function checkBacklog({ depths, backlog }: QueueFacts, { audit }: Pick<Config, 'audit'>): Finding {
  const name = 'auditoría pendiente'
  const pending = depths.auditoria_pendiente
  const most = audit.maxPending
  const [bytes, room] = [backlog.bytes ?? 0, bytesLimit(audit, backlog.maxMemory)]
  const repair = 'vea en el registro de los workers por qué Postgres no la toma'
  if (most > 0 && pending > most) {
    return error(name, `${pending} filas, más que max_pendientes (${most}): las entregas están detenidas`, repair)
  }
  if (pending > 0 && room > 0 && bytes > room) {
    const found = `${formatSize(bytes)} de Redis, más que max_pendientes_bytes (${formatSize(room)})`
    return error(name, `${pending} filas que ocupan ${found}: las entregas están detenidas`, repair)
  }
  if (pending > Math.max(10_000, most / 10)) return aviso(name, `${pending} filas esperan a Postgres`, repair)
  return ok(name, `${pending} filas`)
}

function checkMistyped({ clave, tipo, debe_ser, listener }: Depths['claves_rotas'][number]): Finding {
  const who = listener === null ? 'no se toma ni se entrega nada' : `no se entrega nada a «${listener}»`
  return error(
    'clave rota',
    `${clave} es de tipo ${tipo} y debe ser ${debe_ser}: ${who}`,
    `bórrela (redis-cli DEL '${clave}') y ejecute: ${typed('recuperar')}`,
  )
}

/**
 * Whether Redis keeps the promise that nothing acknowledged is lost: its version, what it keeps on disk, what it throws
 * away, its role, its memory, its clock.
 */

import type { Config } from '../config/config.ts'
import { formatSize } from '../model/quantities.ts'
import { typed } from '../model/typed.ts'
import type { Queue } from '../queue/queue.ts'
import { readServer, type ServerFacts } from '../queue/redis.ts'
import { aviso, checkClock, error, type Finding, ok } from './finding.ts'

/** `INFO`, by field. */
type RedisInfo = ReadonlyMap<string, string>

export interface RedisFacts extends Omit<ServerFacts, 'info'> {
  readonly info: RedisInfo
  readonly sentinels: number
}

export async function readRedis(queue: Queue, { redis: config }: Config): Promise<RedisFacts> {
  const { info, ...facts } = await readServer(queue.redis)
  return { info: parseInfo(info), ...facts, sentinels: config.sentinels.length }
}

export function parseInfo(text: string): RedisInfo {
  return new Map(
    text
      .split(/\r?\n/)
      .filter((line) => /^[a-z]/.test(line))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
}

/** Pure. */
export function checkRedis({ info, fsync, skew, sentinels, open }: RedisFacts): Finding[] {
  return [
    checkVersion(info),
    ...(open ? [UNASKED] : []),
    checkRole(info, sentinels),
    checkPersistence(info, fsync),
    ...checkDisk(info),
    checkEviction(info),
    checkMemory(info),
    checkClock('reloj de Redis', skew),
  ]
}

const UNASKED = aviso(
  'clave',
  'se le da una (REST_HOOKS_REDIS_PASSWORD) y no pide ninguna: entra quien llegue a su puerto',
  'ponga requirepass (o un usuario con ACL) en Redis; o, si no hace falta, quite la variable',
)

function checkVersion(info: RedisInfo): Finding {
  const name = 'versión'
  const version = info.get('valkey_version') ?? info.get('redis_version') ?? '?'
  const server = info.has('valkey_version') ? `Valkey ${version}` : `Redis ${version}`
  const [major = 0, minor = 0] = (info.get('redis_version') ?? '').split('.').map(Number)
  if (major > 6 || (major === 6 && minor >= 2)) return ok(name, server)
  return error(name, `${server}: se necesita Redis 6.2 o Valkey`, 'actualice el servidor')
}

function checkRole(info: RedisInfo, sentinels: number): Finding {
  const name = 'papel'
  if (info.get('redis_mode') === 'cluster') {
    return error(name, 'es un Redis Cluster, que aquí no se usa', 'use un Redis solo, o con Sentinel')
  }
  if (info.get('role') !== 'master') {
    return error(
      name,
      `es una réplica de ${info.get('master_host') ?? '?'}: no acepta escrituras`,
      'apunte REST_HOOKS_REDIS_HOST al maestro, o use REST_HOOKS_REDIS_SENTINELS',
    )
  }
  const replicas = Number(info.get('connected_slaves') ?? 0)
  if (sentinels > 0 && sentinels < 3) {
    return aviso(
      name,
      `maestro; hay ${sentinels} Sentinel: con menos de 3 no hay mayoría`,
      'agregue Sentinels hasta tener 3',
    )
  }
  if (sentinels > 0 && replicas === 0) {
    return aviso(name, 'maestro sin réplicas: Sentinel no tiene a quién pasar', 'agregue una réplica')
  }
  return ok(name, `maestro, ${replicas} réplicas`)
}

function checkPersistence(info: RedisInfo, fsync: string | null): Finding {
  const name = 'persistencia'
  if (info.get('aof_enabled') !== '1') {
    return error(
      name,
      'AOF está desactivado: al reiniciarse Redis se pierden mensajes ya aceptados',
      'ponga «appendonly yes» en redis.conf (y ahora mismo: redis-cli config set appendonly yes)',
    )
  }
  if (fsync === 'no') {
    return aviso(
      name,
      'AOF con appendfsync no: un corte de energía puede perder muchos segundos de mensajes',
      'use «appendfsync everysec» o «always»',
    )
  }
  if (fsync === null) {
    return aviso(
      name,
      'AOF activado; no se pudo leer appendfsync (CONFIG no está permitido)',
      'compruebe que sea everysec o always',
    )
  }
  const cost = fsync === 'always' ? '' : ' (un corte de energía puede perder hasta un segundo; «always» no pierde nada)'
  return ok(name, `AOF, appendfsync ${fsync}${cost}`)
}

function checkDisk(info: RedisInfo): Finding[] {
  const failed = ['aof_last_write_status', 'aof_last_bgrewrite_status', 'rdb_last_bgsave_status'].filter(
    (field) => (info.get(field) ?? 'ok') !== 'ok',
  )
  if (failed.length === 0) return []
  return [
    error(
      'disco',
      `la última escritura en disco falló: ${failed.join(', ')}`,
      'vea el espacio, los permisos y el registro de Redis',
    ),
  ]
}

function checkEviction(info: RedisInfo): Finding {
  const name = 'maxmemory-policy'
  const policy = info.get('maxmemory_policy') ?? '?'
  if (policy === 'noeviction') return ok(name, policy)
  const repair =
    'ponga «maxmemory-policy noeviction» en redis.conf (y: redis-cli config set maxmemory-policy noeviction)'
  const evicted = Number(info.get('evicted_keys') ?? 0)
  if (policy.startsWith('allkeys') && evicted > 0) {
    return error(name, `es ${policy}, y Redis ya borró ${evicted} claves`, `${repair}; luego: ${typed('recuperar')}`)
  }
  if (policy.startsWith('allkeys') && Number(info.get('maxmemory') ?? 0) > 0) {
    return error(name, `es ${policy}: con la memoria llena Redis borra mensajes`, repair)
  }
  return aviso(name, `es ${policy}: con maxmemory y la memoria llena, Redis borra claves`, repair)
}

const TIGHT = 0.8

function checkMemory(info: RedisInfo): Finding {
  const name = 'memoria'
  const used = Number(info.get('used_memory') ?? 0)
  const most = Number(info.get('maxmemory') ?? 0)
  const machine = Number(info.get('total_system_memory') ?? 0)
  const limit = most || machine
  const text = `${approximately(used)} de ${most ? '' : 'la máquina, '}${approximately(limit)}`
  if (limit > 0 && used > limit * TIGHT) {
    const effect = most ? 'al llenarse, «send» falla (exit 4)' : 'al llenarse, el sistema mata a Redis'
    return aviso(
      name,
      `${text}: ${effect}`,
      `vea qué se acumula con «${typed('estado')}»; amplíe la memoria o maxmemory`,
    )
  }
  return ok(name, text)
}

function approximately(bytes: number): string {
  const step = bytes >= 1024 ** 3 ? 1024 ** 3 / 10 : bytes >= 1024 ** 2 ? 1024 ** 2 : 1024
  const rounded = Math.round(bytes / step) * step
  return bytes >= 1024 ** 3 ? `${(rounded / 1024 ** 3).toFixed(1)}G` : formatSize(rounded)
}

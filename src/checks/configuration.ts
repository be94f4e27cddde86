/** The files, what the configuration warns of itself, times that do not fit together; and each setting with where it came from. */
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { delimiter, dirname, isAbsolute, join } from 'node:path'
import { clientCertificate, validity } from '../config/certificates.ts'
import { isLoopback } from '../config/client.ts'
import type { Config, ListenerConfig, Origin, Source } from '../config/config.ts'
import type { CallbackTarget } from '../config/listener-kinds.ts'
import { UNVERIFIED, UNVERIFIED_MEANS } from '../config/load.ts'
import { isSecret } from '../config/secret-values.ts'
import { Subscriptions } from '../config/subscriptions.ts'
import { maskUrl } from '../delivery/mask.ts'
import { systemReason } from '../errors.ts'
import { formatDuration } from '../model/quantities.ts'
import { MASK } from '../model/secrets.ts'
import { localDay } from '../model/words.ts'
import { aviso, error, type Finding, ok } from './finding.ts'

export function checkConfiguration(config: Config): Finding[] {
  return [
    checkFiles(config),
    ...config.warnings.map((warning) => aviso('archivos', warning, 'corrija lo que dice el aviso')),
    ...(config.active ? [] : [aviso('resthooks_activo', 'es 0: no se encola ni se entrega nada', 'póngalo en 1')]),
    checkListeners(config),
    ...checkExposure(config, process.env),
    ...[...config.listeners.values()].flatMap((listener) => checkOwnCertificate(listener, Date.now())),
    ...checkCallbacks(config),
    checkLease(config),
    checkDrain(config),
    ...checkOpenFiles(config),
  ]
}

function checkFiles({ files }: Config): Finding {
  const list = [
    `resthooks.ini: ${files.ini ?? 'ninguno'}`,
    `instalador.env: ${files.env ?? 'ninguno'}`,
    ...files.watched.filter((file) => file !== files.ini && file !== files.env),
  ]
  return ok('archivos leídos', list.join('; '))
}

function checkListeners({ listeners }: Config): Finding {
  const active = [...listeners.values()].filter((listener) => listener.active).length
  if (active > 0) return ok('listeners', `activos: ${active} de ${listeners.size}`)
  return aviso('listeners', 'no hay ninguno activo: nadie recibe los mensajes', 'defina un [listener NOMBRE]')
}

/** What others of this machine, or of the network, could change or read. */
export function checkExposure(
  { files, listeners, redis }: Pick<Config, 'files' | 'listeners' | 'redis'>,
  environment: NodeJS.ProcessEnv,
): Finding[] {
  const findings: Finding[] = []
  const callbacks = [...listeners.values()].flatMap(({ onSuccess, onFailure }) => [onSuccess, onFailure])
  // A script is often the argument of its interpreter.
  const programs = callbacks.flatMap((spec) => (spec?.kind === 'exec' ? spec.argv.filter(isAbsolute) : []))
  for (const [name, paths, can] of [
    ['archivos', files.watched, 'cambiar adónde van los mensajes y qué se ejecuta'],
    ['exec', programs, 'hacer que los workers ejecuten lo que quiera'],
  ] as const) {
    for (const path of new Set(paths)) {
      const open = writableByOthers(path)
      if (open === null) continue
      const what = open === path ? path : `${open}, la carpeta de ${path},`
      findings.push(aviso(name, `cualquier usuario puede escribir en ${what} y así ${can}`, `chmod o-w ${open}`))
    }
  }
  const servers = redis.sentinels.length > 0 ? redis.sentinels : [redis]
  const far = servers.find(({ host }) => !isHere(host))
  if (far && redis.password === null) {
    findings.push(
      aviso(
        'clave de Redis',
        `Redis está en otra máquina (${far.host}) y sin clave: quien llegue a su puerto lee y cambia los mensajes`,
        'ponga requirepass (o un usuario con ACL) en Redis, y REST_HOOKS_REDIS_PASSWORD en instalador.env',
      ),
    )
  }
  if (environment[UNVERIFIED] === '0') {
    findings.push(error(UNVERIFIED, UNVERIFIED_MEANS, 'los workers no se inician así: quítela de su entorno'))
  }
  return findings
}

function isHere(host: string): boolean {
  const url = `http://${host.includes(':') ? `[${host}]` : host}/`
  return URL.canParse(url) && isLoopback(url)
}

/** What of a path every user may write to: itself, or its folder, where the file could be replaced; null: neither. */
function writableByOthers(path: string): string | null {
  const mode = (of: string) => {
    try {
      return statSync(of).mode
    } catch {
      // Not there, or out of sight: whoever needs it reports that.
      return 0
    }
  }
  if (mode(path) & 0o002) return path
  const folder = dirname(path)
  const [OTHERS_WRITE, STICKY] = [0o002, 0o1000]
  return mode(path) !== 0 && mode(folder) & OTHERS_WRITE && !(mode(folder) & STICKY) ? folder : null
}

const FEW_DAYS = 30

/** The client certificate that we show; that it belongs to its key was checked when both were read. */
export function checkOwnCertificate({ name, active, tls }: ListenerConfig, now: number): Finding[] {
  const certificate = active ? clientCertificate(tls) : null
  if (certificate === null) return []
  const title = `certificado de cliente de ${name}`
  const renew = 'pida otro a quien lo emitió y póngalo en cert_file (y su clave en key_file)'
  const until = `${certificate.subject.replaceAll('\n', ', ')}, hasta ${localDay(new Date(certificate.validTo))}`
  const state = validity(certificate, now)
  if (state !== null) return [error(title, `${state}: ${until}`, renew)]
  const days = Math.floor((Date.parse(certificate.validTo) - now) / 86_400_000)
  return [
    days < FEW_DAYS ? aviso(title, `vence en ${days} días: ${until}`, renew) : ok(title, `${days} días: ${until}`),
  ]
}

/** What a callback names must be there: a program to run, a listener to hear the event. */
function checkCallbacks({ listeners }: Pick<Config, 'listeners'>): Finding[] {
  const subscriptions = new Subscriptions(listeners.values())
  const wrong: Finding[] = []
  for (const listener of listeners.values()) {
    if (!listener.active) continue
    for (const [key, callback] of [
      ['on_success', listener.onSuccess],
      ['on_failure', listener.onFailure],
    ] as const) {
      const where = `[listener ${listener.name}] ${key}`
      const finding = callback && checkTarget(where, callback, subscriptions)
      if (finding) wrong.push(finding)
    }
  }
  return wrong
}

function checkTarget(where: string, target: CallbackTarget, subscriptions: Subscriptions): Finding | null {
  if (target.kind === 'event') {
    if (subscriptions.of(target.event, null).length > 0) return null
    return aviso(where, `ningún listener activo escucha «${target.event}»`, 'corrija el evento, o un «eventos»')
  }
  if (target.kind !== 'exec') return null
  const program = target.argv[0]!
  const reason = whyNotRun(program)
  if (reason === null) return null
  return error(
    where,
    `${program}: ${reason}`,
    'corrija la ruta, o dele permiso de ejecución (chmod +x) para el usuario de los workers',
  )
}

/** Null where this user could run it. A name without a slash is looked for on PATH, as the worker does. */
function whyNotRun(program: string): string | null {
  const files = program.includes('/')
    ? [program]
    : (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, program))
  let reason = program.includes('/') ? 'no existe' : 'no está en ninguna carpeta de PATH'
  for (const file of files) {
    try {
      if (!statSync(file).isFile()) throw Object.assign(new Error(), { code: 'EISDIR' })
      accessSync(file, constants.X_OK)
      return null
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') reason = systemReason(cause) ?? String(cause)
    }
  }
  return reason
}

/** The lease is renewed four times in its life: what it must outlast is a pause of Redis or of the worker. */
const SHORT_LEASE = 10_000
const LONG_LEASE = 5 * 60_000

export function checkLease({ workers: { lease, poll } }: Pick<Config, 'workers'>): Finding {
  const name = 'arriendo'
  const text = formatDuration(lease)
  if (lease < SHORT_LEASE || lease < 3 * poll) {
    return aviso(
      name,
      `es de ${text} (sondeo: ${formatDuration(poll)}): una pausa de Redis o del worker más larga repite las entregas en curso`,
      'use al menos 10s, y tres veces el sondeo ([workers] arriendo)',
    )
  }
  if (lease > LONG_LEASE) {
    return aviso(
      name,
      `es de ${text}: lo que tenía un worker que muere espera ese tiempo`,
      'redúzcalo ([workers] arriendo; 30s por omisión)',
    )
  }
  return ok(name, `${text}; se renueva cada ${formatDuration(Math.round(lease / 4))}`)
}

export function checkDrain({ workers, listeners }: Pick<Config, 'workers' | 'listeners'>): Finding {
  const name = 'drenaje'
  const text = formatDuration(workers.drain)
  const slow = [...listeners.values()].filter(({ active, totalTimeout }) => active && totalTimeout > workers.drain)
  if (slow.length === 0) return ok(name, text)
  const names = slow.map(({ name, totalTimeout }) => `${name} (${formatDuration(totalTimeout)})`).join(', ')
  return aviso(
    name,
    `es de ${text}, menos que espera_total de ${names}: al detener los workers esos pedidos se cortan y se repiten`,
    'suba [workers] drenaje (y stopwaitsecs de supervisord) o baje espera_total',
  )
}

/** Two sockets for a request at worst (a repeated one), and room for Redis, Postgres, files and callbacks. */
function checkOpenFiles({ workers }: Config): Finding[] {
  const limit = openFilesLimit()
  if (limit === null) return []
  const name = 'archivos abiertos'
  const needed = workers.concurrency * 2 + 200
  if (limit >= needed) return [ok(name, `límite de ${limit}`)]
  return [
    aviso(
      name,
      `el límite de este usuario es ${limit} y ${workers.concurrency} pedidos a la vez pueden necesitar ${needed}`,
      'suba el límite (ulimit -n, LimitNOFILE, minfds de supervisord) o baje [workers] concurrencia',
    ),
  ]
}

/** Null where the system does not tell. */
function openFilesLimit(): number | null {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return limit === undefined ? null : Number(limit)
  } catch {
    return null
  }
}

export interface SettingRow {
  readonly ajuste: string
  /** `***` for a secret; null where it has no value. */
  readonly valor: string | null
  readonly origen: string
}

/** Each setting, in the order in which they were read. Secrets are never shown. */
export function settingRows(config: Config): SettingRow[] {
  return [...config.origins].map(([name, source]) => ({
    ajuste: name,
    valor: shown(config, name, source),
    origen: originText(source),
  }))
}

function originText(origin: Origin): string {
  switch (origin.kind) {
    case 'environment':
      return `entorno, ${origin.variable}`
    case 'env-file':
      return `${origin.file}, ${origin.variable}`
    case 'ini':
      return origin.line === null ? origin.file : `${origin.file}:${origin.line}`
    case 'default':
      return 'por omisión'
  }
}

function shown({ listeners, secrets }: Config, name: string, source: Source): string | null {
  const text = source.shown() ?? source.written
  if (text === null || text === '') return null
  const at = name.lastIndexOf('.')
  if (isSecret(name.slice(at + 1))) return MASK
  const listener = name.startsWith('listener ') ? listeners.get(name.slice('listener '.length, at)) : undefined
  // Whole first: a name that is hidden takes a value up to its first `&`.
  return maskUrl(secrets.hide(text), new Set(listener?.hidden))
}

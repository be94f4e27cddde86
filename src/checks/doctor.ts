/** Runs every check of `verificar` beyond the files; a server that is away leaves the other checks alone. */
import { latestVersion } from '../audit/migrate.ts'
import type { AuditQueries } from '../audit/queries.ts'
import type { Config, ListenerConfig } from '../config/config.ts'
import type { ResthooksError } from '../errors.ts'
import { count } from '../model/words.ts'
import type { Queue } from '../queue/queue.ts'
import { redisPlace } from '../queue/redis.ts'
import { readAttention } from './attention.ts'
import { toBeTyped } from './causes.ts'
import { aviso, error, type Finding, type GroupedFinding, group, ok } from './finding.ts'
import { checkListeners } from './listeners.ts'
import { checkPostgres } from './postgres.ts'
import { checkQueue, readQueue } from './queue.ts'
import { checkRedis, readRedis } from './redis.ts'
import { checkSupervisord, programsOf } from './supervisord.ts'
import { mistypedPatterns } from './system-problems.ts'
import { checkUnits, findUnits, type Unit } from './systemd.ts'

interface DoctorOptions {
  readonly config: Config
  /** Those to be reached. */
  readonly listeners: readonly ListenerConfig[]
  readonly queue: () => Promise<Queue>
  readonly audit: () => Promise<AuditQueries>
  /** What was thrown, for a person; null: it is a bug. */
  readonly explain: (error: unknown) => Promise<ResthooksError | null>
  /** Of this program. */
  readonly version: string
  /** `--supervisord` */
  readonly supervisord: string | undefined
}

interface Diagnosis {
  readonly findings: readonly GroupedFinding[]
  /** Of Redis and Postgres, when they could not be asked. */
  readonly troubles: readonly ResthooksError[]
}

export async function diagnoseAll(options: DoctorOptions): Promise<Diagnosis> {
  const { config, version, listeners } = options
  const troubles: ResthooksError[] = []
  const units = findUnits(config)
  const [redis, postgres, reachable] = await Promise.all([
    reached(options, troubles, async () => {
      const queue = await options.queue()
      const facts = await readRedis(queue, config)
      return [
        ...group('Redis', [ok('conexión', redisPlace(config.redis)), ...checkRedis(facts)]),
        ...group('cola', checkQueue(await readQueue(queue, config, version), config, startersOf(options, units))),
        ...group('cola', await checkAttention({ config, queue, audit: options.audit, version })),
      ]
    }),
    reached(options, troubles, async () => group('Postgres', await postgresFindings(options))),
    checkListeners(listeners),
  ])
  return {
    findings: [
      ...(redis.findings ?? group('Redis', [unreached(redis.trouble!)])),
      ...(postgres.findings ?? group('Postgres', [unreached(postgres.trouble!)])),
      ...reachable,
      ...group('supervisord', checkSupervisord(config, options.supervisord)),
      ...group('systemd', checkUnits(units, config.files.watched)),
    ],
    troubles,
  }
}

/** What starts the workers of the project on this machine, as it is typed. */
function startersOf({ config, supervisord }: DoctorOptions, units: readonly Unit[]): string[] {
  const systemctl = units.map(({ name }) => `systemctl start ${name}`)
  try {
    const programs = programsOf(config, supervisord)
    return [...systemctl, ...programs.map(({ name }) => `supervisorctl start ${name}`)]
  } catch {
    // That the file cannot be read is told where it is checked.
    return systemctl
  }
}

/** Problems that `estado` tells of too, and no other check here in more words; in the words of `estado`. */
const TITLES: Readonly<Record<string, string>> = {
  sin_rastro: 'proyecto',
  faltan: 'Redis y auditoría',
  sin_listener: 'mensajes sin listener',
  sin_configurar: 'entregas sin listener',
  auditoria_atrasada: 'auditoría',
  worker_atrasado: 'workers',
  entrada: 'entrada',
  callbacks: 'callbacks',
  pausa: 'listener pausado',
  410: 'listener pausado',
  corte: 'corte abierto',
  estricto: 'orden estricto',
  falla: 'listener que falla',
  rechaza: 'listener que rechaza',
  errores: 'listener con errores',
  demora: 'listener demorado',
}

async function checkAttention(sources: Parameters<typeof readAttention>[0]): Promise<Finding[]> {
  const { attention } = await readAttention(sources)
  const { problemas, faltan } = attention
  const findings = problemas.flatMap((problem): Finding[] => {
    const { clase, gravedad, listener, causa, esperan, que_hacer } = problem
    const title = TITLES[clase]
    if (title === undefined || gravedad === 'nota') return []
    const waiting =
      listener !== null && esperan
        ? `; ${esperan === 1 ? 'espera' : 'esperan'} ${count(esperan, 'entrega', 'entregas')}`
        : ''
    const detail = `${listener === null ? '' : `«${listener}»: `}${causa}${waiting}`
    const repair = toBeTyped(que_hacer)
    // A new project is none that is broken.
    const isError = gravedad === 'mal' && listener === null && clase !== 'sin_rastro'
    return [isError ? error(title, detail, repair) : aviso(title, detail, repair)]
  })
  return faltan === 0 ? [ok(TITLES.faltan!, 'lo inconcluso en la auditoría está en Redis'), ...findings] : findings
}

type Reached = { readonly findings: GroupedFinding[] | null; readonly trouble: ResthooksError | null }

async function reached(
  { explain }: DoctorOptions,
  troubles: ResthooksError[],
  ask: () => Promise<GroupedFinding[]>,
): Promise<Reached> {
  try {
    return { findings: await ask(), trouble: null }
  } catch (cause) {
    const trouble = await explain(cause)
    if (trouble === null) throw cause
    troubles.push(trouble)
    return { findings: null, trouble }
  }
}

function unreached(trouble: ResthooksError): Finding {
  const repair = trouble.code === 'NO_DISPONIBLE' ? 'repita cuando esté disponible' : 'corrija la configuración'
  return error('conexión', trouble.message, repair)
}

const CANNOT_COUNT = ['USAGE esquema', 'SELECT auditoria_rechazada']

async function postgresFindings({ audit, config }: DoctorOptions): Promise<Finding[]> {
  const queries = await audit()
  const before = Date.now()
  const health = await queries.health()
  const here = (before + Date.now()) / 2
  const latest = latestVersion()
  const hidden = health.schemaVersion === 0 || health.missingRights.some((right) => CANNOT_COUNT.includes(right))
  const rejected = hidden ? null : await queries.rejectedCount()
  const { host, port, database, schema } = config.audit
  return [
    ok('conexión', `${host}:${port}, base ${database}, esquema ${schema}`),
    ...checkPostgres({ health, latest, rejected, skew: health.now - here }),
    ...(rejected === null || health.schemaVersion !== latest ? [] : await checkEvents(queries, config)),
  ]
}

const EVENTS_DAYS = 30

/** Subscriptions to events that nobody sends, where a letter more or less makes them one that is sent. */
async function checkEvents(audit: AuditQueries, config: Config): Promise<Finding[]> {
  const events = await audit.events(new Date(Date.now() - EVENTS_DAYS * 86_400_000))
  return mistypedPatterns(events, config).map(({ listener, pattern, event }) =>
    aviso(
      'eventos',
      `«${pattern}» de «${listener}» no coincide con ningún mensaje de ${EVENTS_DAYS} días; hay «${event}»`,
      `corrija «eventos» de [listener ${listener}], si es un error de tipeo; luego: reenviar --faltantes --listener ${listener}`,
    ),
  )
}

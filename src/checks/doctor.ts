/** Runs every check. One neighbour that is away leaves the other checks alone. */
import { latestVersion } from '../audit/migrate.ts'
import type { AuditReader } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import type { ResthooksError } from '../errors.ts'
import type { Queue } from '../queue/queue.ts'
import { redisPlace } from '../queue/redis.ts'
import { checkConfiguration } from './configuration.ts'
import { error, type Finding, group, ok, type Verdict } from './finding.ts'
import { checkListeners } from './listeners.ts'
import { checkPostgres } from './postgres.ts'
import { checkQueue, readQueue } from './queue.ts'
import { checkRedis, readRedis } from './redis.ts'
import { checkSupervisord } from './supervisord.ts'

interface DoctorScene {
  readonly config: Config
  readonly queue: () => Promise<Queue>
  readonly audit: () => Promise<AuditReader>
  /** What was thrown, for a person; null: it is a bug. */
  readonly explain: (error: unknown) => Promise<ResthooksError | null>
  /** Of this program. */
  readonly version: string
  /** `--supervisord` */
  readonly supervisord: string | undefined
}

interface Diagnosis {
  readonly findings: readonly Finding[]
  /** Of Redis and Postgres, when they could not be asked. */
  readonly troubles: readonly ResthooksError[]
}

export async function diagnoseAll(scene: DoctorScene): Promise<Diagnosis> {
  const { config, version } = scene
  const troubles: ResthooksError[] = []
  const [redis, postgres, listeners] = await Promise.all([
    reached(scene, troubles, async () => {
      const queue = await scene.queue()
      const facts = await readRedis(queue, config)
      return [
        ...group('Redis', [ok('conexión', redisPlace(config.redis)), ...checkRedis(facts)]),
        ...group('cola', checkQueue(await readQueue(queue, config, version), config)),
      ]
    }),
    reached(scene, troubles, async () => group('Postgres', await postgresVerdicts(scene))),
    checkListeners(config.listeners.values()),
  ])
  return {
    findings: [
      ...group('configuración', checkConfiguration(config)),
      ...(redis.findings ?? group('Redis', [unreached(redis.trouble!)])),
      ...(postgres.findings ?? group('Postgres', [unreached(postgres.trouble!)])),
      ...listeners,
      ...group('supervisord', checkSupervisord(scene.supervisord, config.workers, config.files.watched)),
    ],
    troubles,
  }
}

type Reached = { readonly findings: Finding[] | null; readonly trouble: ResthooksError | null }

async function reached(
  { explain }: DoctorScene,
  troubles: ResthooksError[],
  ask: () => Promise<Finding[]>,
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

function unreached(trouble: ResthooksError): Verdict {
  const repair = trouble.code === 'NO_DISPONIBLE' ? 'repita cuando esté disponible' : 'corrija la configuración'
  return error('conexión', trouble.message, repair)
}

const CANNOT_COUNT = ['USAGE esquema', 'SELECT auditoria_rechazada']

async function postgresVerdicts({ audit, config }: DoctorScene): Promise<Verdict[]> {
  const reader = await audit()
  const before = Date.now()
  const health = await reader.health()
  const here = (before + Date.now()) / 2
  const latest = latestVersion()
  const hidden = health.schemaVersion === 0 || health.missingRights.some((right) => CANNOT_COUNT.includes(right))
  const rejected = hidden ? null : await reader.rejectedCount()
  const { host, port, database, schema } = config.audit
  return [
    ok('conexión', `${host}:${port}, base ${database}, esquema ${schema}`),
    ...checkPostgres({ health, latest, rejected, skew: health.now - here }),
  ]
}

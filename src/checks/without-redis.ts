/**
 * How a project is doing where Redis cannot be asked: what the audit knows of it. For whoever looks at what is wrong just then.
 */
import type { AuditQueries } from '../audit/queries.ts'
import type { Config } from '../config/config.ts'
import type { ResthooksError } from '../errors.ts'
import { type Attention, askAudit, MOST_UNFINISHED, ritmoOf } from './attention.ts'
import { problemsWithoutRedis, UNHEARD_DAYS } from './system-problems.ts'

/** What Redis alone knows. */
const UNKNOWN = {
  al_dia: null,
  esperan: null,
  faltan: null,
  entrada: null,
  entrada_invalida: null,
  en_despacho: null,
  demoradas: null,
  auditoria_pendiente: null,
  auditoria_atraso_ms: null,
  mas_antigua_ms: null,
  listeners: null,
  callbacks: null,
  claves_rotas: null,
  workers: null,
  continuidad: null,
  redis: null,
} as const satisfies Partial<Record<keyof Attention, null>>

/** What `estado --json` prints then: the keys of `Attention`, null for what Redis alone knows, and one more. */
export interface AuditView extends Omit<Attention, keyof typeof UNKNOWN>, Readonly<typeof UNKNOWN> {
  /** Deliveries that the audit knows as unfinished. */
  readonly inconclusas: number
}

interface Sources {
  readonly config: Config
  readonly audit: () => Promise<AuditQueries>
  /** Of this program. */
  readonly version: string
}

/** What the audit knows, to be told once it is known what is wrong with Redis; or why it could not be asked either. */
export async function readAuditAlone({ config, audit, version }: Sources) {
  const fecha = new Date()
  const unheardSince = new Date(fecha.getTime() - UNHEARD_DAYS * 86_400_000)
  const question = { unheardSince, unfinishedBefore: null, mostUnfinished: MOST_UNFINISHED, now: fecha }
  const { overview, trouble, took } = await askAudit(audit(), question, config)
  if (overview === null) return { trouble: trouble! }
  const view = (away: ResthooksError): AuditView => ({
    formato: 2,
    version,
    instancia: config.instancia,
    proyecto: config.proyecto,
    resthooks_activo: config.active,
    veredicto: 'mal',
    problemas: problemsWithoutRedis(away, overview, config),
    ...UNKNOWN,
    inconclusas: overview.unfinished,
    postgres: 'ok',
    postgres_ms: took,
    sin_listener: overview.unheard.reduce((sum, { cantidad }) => sum + cantidad, 0),
    auditoria_rechazada: overview.rejected,
    ritmo: ritmoOf(overview.rates),
    fecha,
  })
  return { view }
}

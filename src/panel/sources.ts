/**
 * What the page answers from: the configuration in force, the queue, the audit. It outlives an outage of each, and follows the
 * files: a user who was taken out of resthooks.ini is out a moment later.
 */
import { type AuditQueries, openAuditQueries } from '../audit/queries.ts'
import { sqlState } from '../audit/trouble.ts'
import type { Config } from '../config/config.ts'
import type { LoadOptions } from '../config/files.ts'
import { ConfigWatcher } from '../config/watch.ts'
import { ResthooksError, UsageError } from '../errors.ts'
import type { Millis } from '../model/message.ts'
import { Queue } from '../queue/queue.ts'
import { causeOf, connectForever, isRedisError, isRedisOutage, reconnectWith, redisTrouble } from '../queue/redis.ts'

/** Of one statement: a person waits, and the database has others to serve. */
const STATEMENT: Millis = 3_000

export class Sources {
  readonly queue: Queue
  #config: Config
  #audit: AuditQueries
  readonly #watcher: ConfigWatcher

  /**
   * @param load what is in force after a change of the files
   * @param note told to whoever runs the page
   */
  constructor(config: Config, files: LoadOptions, load: () => Config, note: (text: string) => void) {
    this.#config = config
    const { instancia, proyecto } = config
    this.queue = new Queue(connectForever(config.redis, 'panel'), instancia, proyecto)
    this.#audit = openAuditQueries(config.audit, { instancia, proyecto }, STATEMENT)
    this.#watcher = new ConfigWatcher(config, files, load, (reread) => {
      if ('config' in reread) this.#change(reread.config)
      else note(`La configuración nueva no se puede usar: sigue en vigor la anterior. ${reread.error.message}`)
    })
  }

  get config(): Config {
    return this.#config
  }

  get audit(): AuditQueries {
    return this.#audit
  }

  #change(config: Config): void {
    const before = this.#config
    // What was rotated away may still stand in an answer.
    config.secrets.include(before.secrets)
    this.#config = config
    reconnectWith(this.queue.redis, before.redis, config.redis)
    if (JSON.stringify(before.audit) === JSON.stringify(config.audit)) return
    const { audit, instancia, proyecto } = config
    const old = this.#audit
    this.#audit = openAuditQueries(audit, { instancia, proyecto }, STATEMENT)
    void old.close()
  }

  /** What a failure means for a person; null: it is a bug. */
  explain(error: unknown): ResthooksError | null {
    if (error instanceof ResthooksError) return isTooSlow(error) ? new UsageError(TOO_SLOW) : error
    const cause = causeOf(error, this.queue.redis)
    return isRedisError(error) || isRedisOutage(error) ? redisTrouble(cause, this.#config.redis) : null
  }

  async close(): Promise<void> {
    this.#watcher.close()
    this.queue.redis.disconnect()
    await this.#audit.close()
  }
}

const TOO_SLOW = `la consulta tardó más de ${STATEMENT / 1000} s y se dejó: acorte el rango (24h, ayer), o agregue un listener o un evento.`

/** The server's own limit: not an outage, and no use to try again as it is. */
function isTooSlow({ cause }: ResthooksError): boolean {
  return sqlState(cause) === '57014'
}

/** For the bar on top of the page. */
export function whoIsAway({ message }: ResthooksError): {
  readonly falta: 'redis' | 'postgres'
  readonly aviso: string
} {
  return { falta: /^Redis\b/.test(message) ? 'redis' : 'postgres', aviso: message }
}

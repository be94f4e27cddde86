/** Where this worker publishes its metrics: as `metricas` says, which a reload may change. */
import { systemReason } from '../errors.ts'
import type { MetricsServer } from '../panel/metrics-server.ts'
import type { Queue } from '../queue/queue.ts'
import type { WorkerScene } from './scene.ts'

export class MetricsPlace {
  readonly #queue: Queue
  readonly #scene: WorkerScene
  readonly #loopAge: () => number
  #server: MetricsServer | undefined
  #closed = false
  /** The last change of `#server`: one at a time. */
  #serving: Promise<void> = Promise.resolve()

  /** @param loopAge ms since both of the worker's loops have turned */
  constructor(queue: Queue, scene: WorkerScene, loopAge: () => number) {
    this.#queue = queue
    this.#scene = scene
    this.#loopAge = loopAge
  }

  /** Where the configuration in force says, and nowhere when it says nothing. A port that is taken stops no delivery. */
  open(): Promise<void> {
    this.#serving = this.#serving.then(async () => {
      try {
        await this.#server?.close()
        this.#server = undefined
        if (!this.#scene.config().workers.metrics || this.#closed) return
        const { startMetricsServer } = await import('../panel/metrics-server.ts')
        this.#server = await startMetricsServer(this.#queue, this.#scene, this.#loopAge)
      } catch (error) {
        this.#scene.log.error(
          { detalle: systemReason(error) ?? (error as Error).message },
          'no se pudieron publicar las métricas',
        )
      }
    })
    return this.#serving
  }

  /** An attempt ended. */
  readonly attempt: MetricsServer['attempt'] = (...told) => this.#server?.attempt(...told)

  async close(): Promise<void> {
    this.#closed = true
    await this.#serving
    await this.#server?.close().catch(() => {})
  }
}

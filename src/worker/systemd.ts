/**
 * Tells systemd how the service is (sd_notify), where its unit is `Type=notify`.
 *
 * Node has no datagram sockets of the Unix kind, and an add-on would be the program's only compiled part: so systemd's own
 * `systemd-notify` speaks, which is there wherever systemd is. It is a child of this process, hence `NotifyAccess=all`.
 */
import { execFile } from 'node:child_process'
import type { Millis } from '../model/message.ts'
import type { Logger } from './log.ts'

const PROGRAM = 'systemd-notify'
/** It waits until systemd has read what was told, 5 s at most. */
const PATIENCE_MS: Millis = 10_000

export class Systemd {
  readonly #log: Logger
  readonly #socket: string
  /** How often it wants to hear that this process lives, 0: never. */
  readonly #watch: Millis
  /** One message after the other, in order. */
  #telling: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #toldTrouble = false

  private constructor(log: Logger, socket: string, watch: Millis) {
    this.#log = log
    this.#socket = socket
    this.#watch = watch
  }

  /**
   * Null where no systemd asks. What it asks is taken out of the environment: a program that this one runs is not the service.
   * @param env of the process
   */
  static from(env: NodeJS.ProcessEnv, log: Logger): Systemd | null {
    const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = env
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name]
    if (!socket) return null
    const isOurs = pid === undefined || pid === String(process.pid)
    return new Systemd(log, socket, isOurs ? Math.floor(Number(usec ?? 0) / 1000) || 0 : 0)
  }

  /** It works, or works again after `reloading`. @param status a line for `systemctl status` */
  ready(status: string): void {
    this.#tell('READY=1', `MAINPID=${process.pid}`, `STATUS=${status}`)
  }

  reloading(): void {
    // The same clock that systemd compares it with.
    this.#tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
  }

  stopping(): void {
    clearInterval(this.#timer)
    this.#tell('STOPPING=1', 'STATUS=termina lo que está en curso')
  }

  /** Says so as often as the unit's `WatchdogSec` wants. @param isAlive asked each time */
  watch(isAlive: () => boolean): void {
    if (this.#watch === 0) return
    const tell = () => {
      if (isAlive()) this.#tell('WATCHDOG=1')
    }
    this.#timer = setInterval(tell, Math.max(this.#watch / 3, 100))
    this.#timer.unref()
  }

  #tell(...variables: string[]): void {
    const env = { PATH: process.env.PATH ?? '/usr/bin:/bin', NOTIFY_SOCKET: this.#socket }
    this.#telling = this.#telling.then(
      () =>
        new Promise((resolve) => {
          execFile(PROGRAM, variables, { env, timeout: PATIENCE_MS }, (error) => {
            if (error && !this.#toldTrouble) {
              this.#log.error(
                { detalle: error.message.trim(), socket: this.#socket },
                `no se pudo avisar a systemd con ${PROGRAM}: quite Type=notify y WatchdogSec de la unidad, o instale ese programa`,
              )
            }
            this.#toldTrouble = error !== null
            resolve()
          })
        }),
    )
  }
}

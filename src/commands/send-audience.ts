/**
 * Who gets a message, as far as the configuration at hand tells. It decides nothing (the workers' own may be another, on another
 * machine): whoever sends to nobody is told at once.
 */
import type { Config } from '../config/config.ts'
import { Subscriptions } from '../config/subscriptions.ts'
import { nearest, suggestion } from '../model/nearest.ts'
import { wasServed } from '../queue/projects.ts'
import type { Queue } from '../queue/queue.ts'
import * as print from './print.ts'

/** A batch of thousands of events that nobody wants is told by so many of them. */
const MOST_TOLD = 20
const MOST_COMPARED = 300

export class Audience {
  readonly #config: Config
  readonly #subscriptions: Subscriptions
  readonly #told = new Set<string>()

  constructor(config: Config) {
    this.#config = config
    this.#subscriptions = new Subscriptions(config.listeners.values())
  }

  /** What is wrong with the listener that a message names, or null. A machine that only sends does not know them. */
  unknownListener(name: string | null): string | null {
    const { listeners, files } = this.#config
    if (name === null || files.ini === null || listeners.has(name)) return null
    const known = [...listeners.keys()]
    return `el listener «${name}» no está en ${files.ini}; hay: ${known.join(', ') || 'ninguno'}.${suggestion(name, known)}`
  }

  /** @param only the listener that the message names */
  tell(event: string, only: string | null): void {
    const why = this.#whyNobody(event, only)
    if (why === null || this.#told.has(why) || this.#told.size > MOST_TOLD) return
    this.#told.add(why)
    const more = this.#told.size > MOST_TOLD
    print.note(more ? 'resthooks: aviso: hay más eventos que nadie recibe' : `resthooks: aviso: ${why}`)
  }

  /**
   * Where no worker ever worked for this project, and others have theirs, `-p` was probably mistyped. Asked when the message is in:
   * whatever goes wrong here is no failure of `send`, which a script would repeat.
   */
  async tellUnserved(queue: Queue): Promise<void> {
    if (this.#config.files.own) return
    try {
      if ((await wasServed(queue)) !== false) return
      const { strayOf, strayWarning } = await import('../checks/stray.ts')
      const stray = await strayOf({ config: this.#config, queue, audit: null })
      if (stray !== null && stray.others.length > 0) print.note(strayWarning(stray))
    } catch {
      // Then nobody is warned.
    }
  }

  #whyNobody(event: string, only: string | null): string | null {
    const { ini } = this.#config.files
    if (ini === null || this.#subscriptions.of(event, only).length > 0) return null
    const then = 'El mensaje queda encolado, pero así termina sin entregarse a nadie.'
    if (only !== null) return `el listener «${only}» está inactivo (activo = 0 en ${ini}). ${then}`
    return `ningún listener de ${ini} recibe el evento «${event}».${this.#hint(event)} ${then}`
  }

  #hint(event: string): string {
    if (event === 'help' || event === 'ayuda') return ' ¿Buscaba la ayuda? Está en: resthooks send --help.'
    const patterns = [...this.#config.listeners.values()].flatMap(({ active, events }) => (active ? events : []))
    const compared = patterns.slice(0, MOST_COMPARED).filter((pattern) => isNear(pattern, event))
    const names = new Map(compared.map((pattern) => [filledIn(pattern, event), pattern]))
    const near = nearest(event, names.keys())
    if (near === null) return ''
    return ` ¿Quiso decir «${near}»${names.get(near) === near ? '' : ` (eventos = ${names.get(near)})`}?`
  }
}

/** Whether each word that the pattern names is near the event's own: what its stars stand for makes nothing alike. */
function isNear(pattern: string, event: string): boolean {
  const words = event.split('.')
  if (words.length < pattern.split('.').length) return true
  return pattern.split('.').every((part, n) => part === '*' || nearest(words[n]!, [part]) !== null)
}

/** The pattern with the event's own words for its stars: `proveedor.*` is compared as `proveedor.alta`. */
function filledIn(pattern: string, event: string): string {
  const words = event.split('.')
  const parts = pattern.split('.')
  const last = parts.length - 1
  return parts
    .map((part, n) => (part === '*' ? words.slice(n, n === last ? undefined : n + 1).join('.') : part))
    .join('.')
}

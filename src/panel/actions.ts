/**
 * Acting: what would be done is shown first (how many, the first five, the equivalent command) and kept here under a number; to do
 * it, the number is given back. What has changed since stops it. Long work goes on in the background, and tells how far it is.
 *
 * The work itself is the commands' own, under the same lock; the audit keeps the user and what was asked for.
 */

import { randomBytes } from 'node:crypto'
import type { DeliveryStateName } from '../audit/event.ts'
import { createPostgresBackend } from '../audit/postgres.ts'
import { type AuditQueries, type DeliveryFilters, type DeliveryListing, openAuditQueries } from '../audit/queries.ts'
import { sentMessage } from '../checks/message-report.ts'
import { whyListenerWaits } from '../checks/waiting.ts'
import { probe } from '../delivery/probe.ts'
import { OperationFailed, UsageError } from '../errors.ts'
import { newId } from '../id.ts'
import type { Author } from '../model/author.ts'
import { type Millis, trialMessage } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { amount, count, duration, shellWord } from '../model/words.ts'
import { readDepths } from '../queue/depths.ts'
import { tellAction } from '../queue/maintenance.ts'
import { pause, resume } from '../queue/pauses.ts'
import { discard } from '../recovery/discard.ts'
import type { Maintenance, Tally } from '../recovery/maintenance.ts'
import { planOf } from '../recovery/plan.ts'
import { resend } from '../recovery/resend.ts'
import type { DeliveryKey, Selection } from '../recovery/selection.ts'
import type { Viewer } from './access.ts'
import { rowOf } from './messages.ts'
import { searchOf, searchSentence } from './search.ts'
import { clean } from './shown.ts'
import type { Sources } from './sources.ts'
import { ACTIONS, type Action, type Asked, type Preview, type Task } from './wire.ts'

/** Which states each takes: what already succeeded, or was given up, is not touched by accident. */
const STATES: Readonly<Record<'reenviar' | 'descartar', readonly DeliveryStateName[]>> = {
  reenviar: ['fallida', 'descartada'],
  descartar: ['fallida', 'pendiente', 'reintentando'],
}
const PURPOSES = { reenviar: 'resend', descartar: 'discard' } as const
const SHOWN = 5
const MOST_CHOSEN = 500
/** A preview is worth something for so long. */
const KEPT: Millis = 10 * 60_000
const MOST_KEPT = 200

interface Plan {
  readonly usuario: string
  readonly action: Action
  readonly at: number
  readonly preview: Preview
  readonly selection: Selection | null
  readonly listener: string | null
  /** Whose request a trial makes; null: one of ours. */
  readonly messageId: string | null
}

export class Actions {
  readonly #sources: Sources
  readonly #version: string
  readonly #plans = new Map<string, Plan>()
  readonly #tasks = new Map<string, Task & { readonly usuario: string }>()

  constructor(sources: Sources, version: string) {
    this.#sources = sources
    this.#version = version
  }

  /** @throws UsageError for what cannot be meant */
  async preview(viewer: Viewer, asked: Asked): Promise<Preview> {
    const { action } = asked
    const plan =
      action === 'reenviar' || action === 'descartar'
        ? await this.#deliveries(viewer, action, asked)
        : await this.#ofListener(action, asked)
    const id = randomBytes(12).toString('base64url')
    const preview = { ...plan.preview, id }
    remember(this.#plans, id, { ...plan, preview, usuario: viewer.usuario, at: Date.now() })
    return preview
  }

  async #deliveries(
    viewer: Viewer,
    action: 'reenviar' | 'descartar',
    asked: Asked,
  ): Promise<Omit<Plan, 'usuario' | 'at'>> {
    const { config } = this.#sources
    const { selection, filters, told } = this.#selectionOf(viewer, action, asked)
    const { total, first, listeners, skipped } = await this.#found(action, selection)
    const preview: Preview = {
      id: '',
      accion: action,
      cantidad: total,
      primeras: first.map((row) => rowOf(row, config.secrets)),
      porListener: listeners,
      dice: clean(told, config.secrets),
      pasara: [
        total === 0 ? 'Nada: no hay entregas que lo cumplan.' : WHAT_HAPPENS[action],
        ...skipped.map(
          ({ listener, cantidad, motivo }) => `De ${listener} quedan ${amount(cantidad)} como están: ${motivo}.`,
        ),
      ].join(' '),
      orden: clean(commandOf(action, selection, filters), config.secrets),
    }
    return { action, preview, selection, listener: null, messageId: null }
  }

  #selectionOf(viewer: Viewer, action: 'reenviar' | 'descartar', { entregas, q }: Asked) {
    const states = STATES[action]
    if (entregas !== undefined) {
      if (!Array.isArray(entregas) || entregas.length === 0 || entregas.length > MOST_CHOSEN || !entregas.every(isPair))
        throw new UsageError(`elija de 1 a ${MOST_CHOSEN} entregas.`)
      const keys = entregas.map(([messageId, listener]) => ({ messageId, listener }))
      const selection = { kind: 'deliveries', keys, states } satisfies Selection
      return { selection, filters: { states }, told: count(keys.length, 'entrega elegida', 'entregas elegidas') }
    }
    if (typeof q !== 'string') throw new UsageError('falta qué entregas: una búsqueda, o las elegidas.')
    const search = searchOf(viewer, q, [...this.#sources.config.listeners.keys()])
    if (search.unheard)
      throw new UsageError(`lo que ningún listener recibió se envía con: ${typed('reenviar --sin-listener')}.`)
    const asked = search.filters.states ?? states
    const wanted = asked.filter((state) => states.includes(state))
    if (wanted.length === 0) throw new UsageError(`${action} no toca entregas en estado ${asked.join(', ')}.`)
    // Of this moment: what comes later is not what was seen.
    const filters = { ...search.filters, states: wanted, until: search.filters.until ?? new Date() }
    const selection = { kind: 'filters', filters } satisfies Selection
    return { selection, filters, told: searchSentence({ ...search, filters }) }
  }

  async #found(action: 'reenviar' | 'descartar', selection: Selection) {
    const { audit } = this.#sources
    const about = { who: '', host: '', order: '', filter: null }
    const plan = await this.#withBackend(audit, about, undefined, true, (maintenance) =>
      planOf(maintenance, PURPOSES[action], selection, Number.POSITIVE_INFINITY),
    )
    if (selection.kind !== 'deliveries') return { ...plan, first: plan.first as readonly DeliveryListing[] }
    const pages = selection.keys
      .slice(0, SHOWN)
      .map(({ messageId, listener }) =>
        audit.deliveries({ messageId, listener, states: selection.states }, { limit: 1 }),
      )
    return { ...plan, first: (await Promise.all(pages)).flatMap(({ rows }) => rows) }
  }

  async #withBackend<T>(
    audit: AuditQueries,
    action: Maintenance['action'],
    progress: Maintenance['progress'],
    simulate: boolean,
    work: (maintenance: Maintenance) => Promise<T>,
  ): Promise<T> {
    const { config, queue } = this.#sources
    const { instancia, proyecto } = config
    const backend = createPostgresBackend(config.audit, { instancia, proyecto })
    try {
      const told = progress ? { progress } : {}
      return await work({ config, queue, audit, backend, simulate, note: () => {}, action, ...told })
    } finally {
      await backend.close()
    }
  }

  async #ofListener(
    action: 'pausar' | 'reanudar' | 'probar',
    { listener, mensaje }: Asked,
  ): Promise<Omit<Plan, 'usuario' | 'at'>> {
    const { config, queue } = this.#sources
    if (typeof listener !== 'string' || !config.listeners.has(listener))
      throw new UsageError(`no hay ningún listener «${String(listener ?? '')}» en resthooks.ini.`)
    const messageId = action === 'probar' && typeof mensaje === 'string' ? mensaje : null
    const { listeners: lanes } = await readDepths(queue, [listener])
    const lane = lanes.find((each) => each.listener === listener)
    const waiting = lane ? lane.en_cola + lane.reintentos : 0
    const preview: Preview = {
      id: '',
      accion: action,
      cantidad: action === 'probar' ? 1 : waiting,
      primeras: [],
      porListener: [],
      dice:
        action === 'probar'
          ? `un pedido a ${listener}${messageId === null ? '' : `, el que haría el mensaje ${messageId}`}`
          : `${listener}: ${count(waiting, 'entrega espera', 'entregas esperan')}`,
      pasara: WHAT_HAPPENS[action],
      orden: typed(`${action} ${listener}${messageId === null ? '' : ` --mensaje ${shellWord(messageId)}`}`),
    }
    return { action, preview, selection: null, listener, messageId }
  }

  /**
   * @param wanted what it may be
   * @param id of the preview
   * @throws UsageError, or OperationFailed where what was shown is not so any more
   */
  async begin(viewer: Viewer, wanted: Action, id: string): Promise<Task> {
    const plan = this.#plans.get(id)
    if (!plan || plan.action !== wanted || plan.usuario !== viewer.usuario || Date.now() - plan.at > KEPT)
      throw new OperationFailed(
        'Lo que se mostró ya no vale (pasaron más de 10 minutos, o se reinició la página): véalo de nuevo.',
      )
    const { action, preview, selection } = plan
    if (selection !== null && preview.cantidad === 0)
      throw new OperationFailed('No hay entregas que lo cumplan: no se hizo nada.')
    // Once: a second click is none.
    this.#plans.delete(id)
    const task: Task = {
      id: newId(),
      accion: action,
      dice: preview.dice,
      total: preview.cantidad,
      hechas: 0,
      estado: 'en curso',
      texto: '',
      detalle: [],
    }
    this.#put(viewer, task)
    void this.#run(viewer, plan, task)
    return task
  }

  /** Null: there is none, or it is another's. */
  task(viewer: Viewer, id: string): Task | null {
    const found = this.#tasks.get(id)
    if (!found || found.usuario !== viewer.usuario) return null
    const { usuario: _, ...task } = found
    return task
  }

  #put(viewer: Viewer, task: Task): void {
    remember(this.#tasks, task.id, { ...task, usuario: viewer.usuario })
  }

  async #run(viewer: Viewer, plan: Plan, task: Task): Promise<void> {
    const { secrets } = this.#sources.config
    try {
      const { texto, detalle } = await this.#carryOut(viewer, plan, (hechas) => this.#put(viewer, { ...task, hechas }))
      const hechas = this.#tasks.get(task.id)?.hechas ?? 0
      this.#put(viewer, {
        ...task,
        hechas,
        estado: 'terminada',
        texto: clean(texto, secrets),
        detalle: detalle.map((line) => clean(line, secrets)),
      })
    } catch (error) {
      const known = this.#sources.explain(error)
      const texto = known?.message ?? `error interno, por favor infórmelo: ${(error as Error).message}`
      this.#put(viewer, { ...task, estado: 'falló', texto: clean(texto, secrets) })
    }
  }

  async #carryOut(viewer: Viewer, plan: Plan, progress: (done: number) => void): Promise<Done> {
    const { action, selection, listener, preview } = plan
    const by: Author = { user: viewer.usuario, host: viewer.equipo }
    const about = { who: by.user, host: by.host, order: preview.orden, filter: preview.dice }
    if (selection === null) {
      const { queue } = this.#sources
      const name = listener!
      if (action === 'pausar') await pause(queue, [name], null, undefined, by)
      else if (action === 'reanudar') await resume(queue, [name])
      else return this.#probe(name, plan.messageId)
      await tellAction(queue, { ...about, id: newId(), count: preview.cantidad })
      return { texto: `${name}: ${action === 'pausar' ? 'pausado, sin fin' : 'reanudado'}.`, detalle: [] }
    }
    const { audit: where, instancia, proyecto } = this.#sources.config
    // Connections of its own, that may take their time.
    const audit = openAuditQueries(where, { instancia, proyecto })
    const run = { limit: Number.POSITIVE_INFINITY, expected: preview.cantidad }
    try {
      return await this.#withBackend(audit, about, progress, false, async (maintenance) => {
        if (action === 'reenviar') return doneText('reenviadas', await resend(maintenance, selection, run))
        const { tally, running } = await discard(maintenance, selection, run)
        const late = `${amount(running)} tenían un pedido en curso, que puede llegar igual.`
        return doneText('descartadas', tally, running > 0 ? [late] : [])
      })
    } finally {
      await audit.close()
    }
  }

  async #probe(name: string, messageId: string | null): Promise<Done> {
    const { config, audit, queue } = this.#sources
    const listener = config.listeners.get(name)
    if (!listener) throw new OperationFailed(`«${name}» ya no está en resthooks.ini.`)
    const { message, number } =
      messageId === null
        ? { message: trialMessage(), number: 1 }
        : await sentMessage(audit, async () => queue, messageId, name)
    const held = await whyListenerWaits(queue, config, name)
    const report = await probe(listener, message, {
      version: this.#version,
      secrets: config.secrets,
      signal: AbortSignal.timeout(LONGEST_PROBE),
      number,
    })
    const { requests } = report
    const whole = requests.reduce((sum, { durationMs }) => sum + durationMs, 0)
    const took = requests.length > 0 ? ` (${duration(whole)})` : ''
    return {
      texto: `${report.outcome.kind === 'success' ? '✔' : '✘'} ${report.diagnosis}${took}`,
      detalle: [
        // What the queue holds back says nothing about the request, and the other way round.
        ...(held ? [`Las entregas de la cola no salen: ${held.motivo}`] : []),
        ...report.names.addresses.map(
          ({ address, blocked }) => `${report.names.host} → ${address}${blocked ? ' (bloqueada)' : ''}`,
        ),
        ...(report.tls
          ? [`${report.tls.protocol ?? 'TLS'}: ${report.tls.problem ?? report.tls.certificate?.subject ?? ''}`]
          : []),
        ...requests.map(
          ({ method, url, status, errorDetail }) => `${method} ${url} → ${status ?? errorDetail ?? 'sin respuesta'}`,
        ),
      ],
    }
  }
}

interface Done {
  readonly texto: string
  readonly detalle: readonly string[]
}

const LONGEST_PROBE: Millis = 60_000

function doneText(verb: string, tally: Tally, detalle: readonly string[] = []): Done {
  const left = tally.problemCount > 0 ? ` No se pudo con ${amount(tally.problemCount)}.` : ''
  return {
    texto: `Entregas ${verb}: ${amount(tally.total)}.${left}`,
    detalle: [
      ...detalle,
      ...tally.problems
        .slice(0, 20)
        .map(({ mensaje_id, listener, motivo }) => `${mensaje_id} → ${listener}: ${motivo}`),
    ],
  }
}

const WHAT_HAPPENS: Readonly<Record<Action, string>> = {
  reenviar: 'Vuelven a la cola y se entregan otra vez, con el mismo id. Los reintentos empiezan de nuevo.',
  descartar: 'Se abandonan: no se entregan más. Se deshace reenviándolas.',
  pausar: 'Lo que espera y lo que llegue queda retenido hasta que alguien lo reanude. No se pierde nada.',
  reanudar: 'Se entrega lo que espera. Si respondió 410, primero va una sola, de prueba.',
  probar: 'Se hace un pedido real, fuera de la cola, con la cabecera X-Resthooks-Prueba: 1.',
}

function commandOf(action: string, selection: Selection, filters: DeliveryFilters): string {
  if (selection.kind === 'deliveries') {
    const listeners = new Set(selection.keys.map(({ listener }) => listener))
    const ids = [...new Set(selection.keys.map(({ messageId }: DeliveryKey) => messageId))]
    const shown = ids.slice(0, 3).map(shellWord)
    const more = ids.length > 3 ? [`… (${ids.length})`] : []
    return typed([action, ...shown, ...more, ...(listeners.size === 1 ? ['--listener', ...listeners] : [])].join(' '))
  }
  const { event, listener, states, since, until, messageId, key, search } = filters
  const options: [string, string | undefined][] = [
    ['evento', event],
    ['listener', listener],
    ['estado', states?.join(',')],
    ['desde', since?.toISOString()],
    ['hasta', until?.toISOString()],
    ['mensaje', messageId],
    ['clave', key],
    ['buscar', search === undefined ? undefined : [search].flat().join(' ')],
  ]
  const words = options.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, shellWord(value)]))
  return typed([action, ...words].join(' '))
}

function isPair(value: unknown): value is [string, string] {
  return (
    Array.isArray(value) && value.length === 2 && value.every((each) => typeof each === 'string' && each.length < 300)
  )
}

function remember<T>(map: Map<string, T>, id: string, value: T): void {
  map.set(id, value)
  if (map.size > MOST_KEPT) map.delete(map.keys().next().value!)
}

export function isAction(text: unknown): text is Action {
  return typeof text === 'string' && Object.hasOwn(ACTIONS, text)
}

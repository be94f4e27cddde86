/** `probar`: one real request to a listener, outside the queue, printed whole. */

import type { Command } from 'commander'
import { toBeTyped } from '../checks/causes.ts'
import type { SentMessage } from '../checks/message-report.ts'
import type { Waiting } from '../checks/waiting.ts'
import type { Config, ListenerConfig } from '../config/config.ts'
import type { RequestRecord } from '../delivery/mask.ts'
import type { ProbeReport } from '../delivery/probe.ts'
import { OperationFailed, UsageError } from '../errors.ts'
import { PLACEHOLDER } from '../model/http.ts'
import { type Message, TRIAL_EVENT, trialMessage } from '../model/message.ts'
import { typed } from '../model/typed.ts'
import { bodyLines, bodyText, contentTypeOf, phaseText } from '../model/wire-text.ts'
import { shellWord } from '../model/words.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { requireListener } from './select.ts'
import {
  addRequestOptions,
  headersOf,
  mustBeJson,
  type RequestOptions,
  readBody,
  requestProblems,
  requireJson,
} from './send-message.ts'

interface ProbarOptions extends RequestOptions {
  readonly evento?: string
  readonly mensaje?: string
  readonly json?: boolean
}

export function probar(program: Command, context: Context): void {
  const command = program
    .command('probar')
    .description('hace un pedido real a un listener, fuera de la cola, y lo muestra entero')
    .argument('<listener>', 'el de [listener NOMBRE]')
    .argument('[datos]', 'JSON; «-» lo lee de la entrada estándar, «@archivo» de un archivo')
    .option('--mensaje <id>', 'el pedido que haría este mensaje: su evento, sus datos, su ruta y sus cabeceras')
    .option('--evento <evento>', `nombre del evento (por omisión: ${TRIAL_EVENT})`)
  addRequestOptions(command)
    .option('--json', 'un documento JSON')
    .addHelpText(
      'after',
      '\nEl pedido lleva la cabecera X-Resthooks-Prueba: 1. Con --mensaje lleva también su webhook-id: quien lo acepte puede ' +
        'tomar la entrega verdadera por repetida. Termina con 0 sólo si el listener lo aceptó.',
    )
    .action(async (name: string, data: string | undefined, options: ProbarOptions) => {
      const config = await context.configToLook(`listener ${name}`, 'cliente *')
      const { listeners, secrets } = config
      const listener = requireListener(listeners, name)
      const { UNVERIFIED, UNVERIFIED_MEANS } = await import('../config/load.ts')
      if (process.env[UNVERIFIED] === '0') print.note(`Atención: ${UNVERIFIED} ${UNVERIFIED_MEANS}`)
      const { message, number, dispatched } = await trialOf(context, listener, data, options)
      const wrong = options.mensaje === undefined ? requestProblems(message, [listener]) : []
      if (wrong.length > 0) throw new UsageError(wrong.join('\n           '))
      const unheard =
        dispatched || (options.evento === undefined && options.mensaje === undefined)
          ? null
          : await whyUnheard(listener, message)
      if (unheard !== null) print.note(`resthooks: aviso: ${unheard}`)
      const stop = new AbortController()
      const interrupt = () => stop.abort()
      process.once('SIGINT', interrupt)
      const { probe } = await import('../delivery/probe.ts')
      const waiting = whyWaiting(context, config, name)
      let report: ProbeReport
      try {
        report = await probe(listener, message, { version: __VERSION__, secrets, signal: stop.signal, number })
      } finally {
        process.off('SIGINT', interrupt)
      }
      const held = await waiting
      if (options.json) print.json({ ...asJson(name, report), entregas_detenidas: held, no_lo_recibe: unheard })
      else for (const each of [...(await probeLines(report, message)), ...heldLines(held, report)]) print.line(each)
      if (stop.signal.aborted) process.exitCode = 130
      else if (report.outcome.kind !== 'success')
        throw new OperationFailed(`la prueba de ${name} falló: ${report.outcome.reason}`)
    })
}

/** Why such a message, sent, would not come to this listener; null: it would. */
async function whyUnheard(
  { name, events, active }: ListenerConfig,
  { event, onlyListener }: Message,
): Promise<string | null> {
  if (!active) return `${name} está inactivo (activo = 0): ningún mensaje le llega.`
  if (onlyListener === name) return null
  if (onlyListener !== null) return `ese mensaje se envió sólo para «${onlyListener}»: a ${name} no le llega.`
  const { eventMatcher } = await import('../config/subscriptions.ts')
  if (eventMatcher(events)(event)) return null
  return `${name} no escucha «${event}» (eventos = ${events.join(', ')}): por la cola, ese mensaje no le llega.`
}

/** What the queue holds back says nothing about the request, and the other way round. */
async function whyWaiting(context: Context, config: Config, name: string): Promise<Waiting | null> {
  const { whyListenerWaits } = await import('../checks/waiting.ts')
  try {
    return await whyListenerWaits(await context.queue(), config, name)
  } catch (error) {
    const trouble = await context.explain(error)
    if (trouble === null) throw error
    print.note(`resthooks: aviso: no se sabe si sus entregas esperan. ${trouble.message}`)
    return null
  }
}

function heldLines(held: Waiting | null, { outcome }: ProbeReport): string[] {
  if (held === null) return []
  const although =
    outcome.kind === 'success'
      ? 'Aunque este pedido funcionó, las entregas de la cola no salen'
      : 'Además, las entregas de la cola no salen'
  return [
    print.oneLine(`! ${although}: ${held.motivo}${held.que_hacer === null ? '' : ` → ${toBeTyped(held.que_hacer)}`}`),
  ]
}

/** @throws UsageError when the options contradict each other, or the route asks for data that is not given */
async function trialOf(
  context: Context,
  listener: ListenerConfig,
  data: string | undefined,
  options: ProbarOptions,
): Promise<SentMessage> {
  const { mensaje, ...own } = options
  if (mensaje === undefined) return { message: await messageOf(listener, data, own), number: 1, dispatched: false }
  const isSaid = (data !== undefined || own.evento) ?? own.ruta ?? own.metodo ?? own.tipoContenido ?? own.cabecera[0]
  if (isSaid) throw new UsageError('--mensaje ya dice los datos, el evento y el pedido: úselo sin ellos')
  const { sentMessage } = await import('../checks/message-report.ts')
  return sentMessage(await context.audit(), () => context.queue(), mensaje, listener.name)
}

async function messageOf(listener: ListenerConfig, data: string | undefined, options: ProbarOptions): Promise<Message> {
  requireData(listener, data, options)
  const { body } = await readBody(data ?? '{}')
  const contentType = options.tipoContenido ?? 'application/json'
  if (mustBeJson(contentType) && body.length > 0) await requireJson(body)
  return trialMessage({
    event: options.evento ?? TRIAL_EVENT,
    body,
    contentType,
    method: options.metodo ?? null,
    path: options.ruta ?? null,
    headers: headersOf(options.cabecera),
  })
}

/** @throws UsageError that shows how, when the route takes something of the data and none is given */
function requireData({ name, path }: ListenerConfig, data: string | undefined, { ruta }: ProbarOptions): void {
  const fields = [...(ruta ?? path).matchAll(PLACEHOLDER)]
    .map(([, field]) => field!.split('.'))
    .filter(([first]) => first === 'datos')
  if (data !== undefined || fields.length === 0) return
  const sample = {}
  for (const [, ...names] of fields) {
    const last = names.pop()!
    const inside = names.reduce<Record<string, unknown>>((at, each) => {
      at[each] ??= {}
      return at[each] as Record<string, unknown>
    }, sample)
    inside[last] = 7
  }
  throw new UsageError(
    `la ruta de ${name} (${ruta ?? path}) se arma con los datos del mensaje: déselos, por ejemplo\n` +
      `  ${typed(`probar ${name} ${shellWord(JSON.stringify(sample))}`)}\no haga el pedido de un mensaje que ya se envió:\n` +
      `  ${typed(`probar ${name} --mensaje ID`)}`,
  )
}

const RESULTS = { success: 'exito', retry: 'reintento', failure: 'fallo', unable: 'no_se_pudo' } as const

/** The keys are the columns of `intento`; bodies as text where they are text. */
function asJson(name: string, report: ProbeReport) {
  const { names, tls, requests, outcome, diagnosis } = report
  const certificate = tls?.certificate
  return {
    listener: name,
    resultado: RESULTS[outcome.kind],
    motivo: outcome.kind === 'success' ? null : outcome.reason,
    diagnostico: diagnosis,
    dns: {
      nombre: names.host,
      direcciones: names.addresses.map(({ address, blocked }) => ({ direccion: address, bloqueada: blocked })),
      error: names.error,
    },
    tls: tls && {
      protocolo: tls.protocol,
      cifrado: tls.cipher,
      problema: tls.problem,
      certificado: certificate && {
        sujeto: certificate.subject,
        emisor: certificate.issuer,
        nombres: certificate.names,
        desde: certificate.validFrom,
        hasta: certificate.validTo,
        dias: certificate.daysLeft,
      },
    },
    pedidos: requests.map((request) => ({
      pedido: request.request,
      inicio: new Date(request.startedAt),
      duracion_ms: request.durationMs,
      fases: request.phases,
      metodo: request.method,
      url: request.url,
      ip: request.ip,
      pedido_cabeceras: request.requestHeaders,
      http_estado: request.status,
      respuesta_cabeceras: request.responseHeaders,
      respuesta_cuerpo:
        request.responseBody &&
        (bodyText(request.responseBody, contentTypeOf(request.responseHeaders)) ?? request.responseBody),
      respuesta_truncada: request.responseTruncated,
      error: request.error,
      error_detalle: request.errorDetail,
    })),
  }
}

/** For a person: `>` was sent, `<` came back, as curl shows them. */
async function probeLines(report: ProbeReport, message: Message): Promise<string[]> {
  const { names, tls, requests, outcome, diagnosis } = report
  const lines: string[] = []
  const add = (name: string, value: string) => lines.push(`${name.padEnd(10)}${print.oneLine(value)}`)
  const addresses = names.addresses.map(({ address, blocked }) => (blocked ? `${address} (bloqueada)` : address))
  add('DNS', `${names.host} → ${names.error ?? addresses.join(', ')}`)
  if (tls !== null) {
    add('TLS', [tls.protocol, tls.cipher].filter(Boolean).join(' ') || 'no se pudo negociar')
    const { certificate } = tls
    if (certificate !== null) {
      add('', `certificado de ${certificate.subject}, emitido por ${certificate.issuer}`)
      if (certificate.names.length > 0) add('', `vale para ${certificate.names.join(', ')}`)
      const days =
        certificate.daysLeft < 0 ? `vencido hace ${-certificate.daysLeft} días` : `quedan ${certificate.daysLeft} días`
      add('', `hasta ${print.localTime(certificate.validTo)} (${days})`)
    }
    if (tls.problem !== null) add('', `no se acepta: ${tls.problem}`)
  }
  for (const request of requests) lines.push('', ...(await requestLines(request, message)))
  lines.push('', `${outcome.kind === 'success' ? '✔' : '✘'} ${print.oneLine(diagnosis)}`)
  return lines
}

async function requestLines(request: RequestRecord, message: Message): Promise<string[]> {
  const lines = [`> ${print.oneLine(`${request.method} ${request.url}`)}`]
  for (const [name, value] of Object.entries(request.requestHeaders))
    lines.push(`> ${print.oneLine(`${name}: ${value}`)}`)
  // A request for a token is none of the message's, and its body is secret.
  const names = Object.keys(request.requestHeaders).map((name) => name.toLowerCase())
  const hasBody = names.includes('content-type') && names.includes('webhook-id')
  if (hasBody && message.body.length > 0) {
    lines.push('>', ...(await bodyLines(message.body, message.contentType)).map((each) => `> ${each}`))
  }
  const phases = Object.entries(request.phases ?? {}).map(([name, millis]) => `${phaseText(name)} ${millis} ms`)
  lines.push(`* ${[request.ip, ...phases].filter(Boolean).join(' · ')}`)
  if (request.status !== null) {
    lines.push(`< HTTP ${request.status}`)
    for (const [name, value] of Object.entries(request.responseHeaders ?? {})) {
      for (const each of [value].flat()) lines.push(`< ${print.oneLine(`${name}: ${each}`)}`)
    }
    if (request.responseBody !== null && request.responseBody.length > 0) {
      const type = contentTypeOf(request.responseHeaders)
      lines.push('<', ...(await bodyLines(request.responseBody, type)).map((each) => `< ${each}`))
      if (request.responseTruncated) lines.push('* (cortado en max_respuesta)')
    }
  }
  if (request.error !== null) lines.push(`! ${print.oneLine(`${request.error}: ${request.errorDetail ?? ''}`)}`)
  return lines
}

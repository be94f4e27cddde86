/** `probar`: one real request to a listener, outside the queue, printed whole. */
import type { Command } from 'commander'
import type { RequestRecord } from '../delivery/mask.ts'
import type { ProbeReport } from '../delivery/probe.ts'
import { OperationFailed, UsageError } from '../errors.ts'
import { newId } from '../id.ts'
import type { Message } from '../model/message.ts'
import { bodyLines, bodyText, contentTypeOf, phaseText } from '../model/wire-text.ts'
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
  readonly evento: string
  readonly json?: boolean
}

export function probar(program: Command, context: Context): void {
  const command = program
    .command('probar')
    .description('hace un pedido real a un listener, fuera de la cola, y lo muestra entero')
    .argument('<listener>', 'el de [listener NOMBRE]')
    .argument('[datos]', 'JSON; «-» lo lee de la entrada estándar, «@archivo» de un archivo', '{}')
    .option('--evento <evento>', 'nombre del evento', 'resthooks.prueba')
  addRequestOptions(command)
    .option('--json', 'un documento JSON')
    .addHelpText(
      'after',
      '\nEl pedido lleva la cabecera X-Resthooks-Prueba: 1. Termina con 0 sólo si el listener lo aceptó.',
    )
    .action(async (name: string, data: string, options: ProbarOptions) => {
      const { probe } = await import('../delivery/probe.ts')
      const { listeners, secrets } = await context.config()
      const listener = requireListener(listeners, name)
      const { UNVERIFIED, UNVERIFIED_MEANS } = await import('../config/load.ts')
      if (process.env[UNVERIFIED] === '0') print.note(`Atención: ${UNVERIFIED} ${UNVERIFIED_MEANS}`)
      const message = await messageOf(data, options)
      const wrong = requestProblems(message, [listener])
      if (wrong.length > 0) throw new UsageError(wrong.join('\n           '))
      const stop = new AbortController()
      const interrupt = () => stop.abort()
      process.once('SIGINT', interrupt)
      let report: ProbeReport
      try {
        report = await probe(listener, message, { version: __VERSION__, secrets, signal: stop.signal })
      } finally {
        process.off('SIGINT', interrupt)
      }
      if (options.json) print.json(asJson(name, report))
      else for (const each of await probeLines(report, message)) print.line(each)
      if (stop.signal.aborted) process.exitCode = 130
      else if (report.outcome.kind !== 'success')
        throw new OperationFailed(`la prueba de ${name} falló: ${report.outcome.reason}`)
    })
}

async function messageOf(data: string, options: ProbarOptions): Promise<Message> {
  const { body } = await readBody(data)
  const contentType = options.tipoContenido ?? 'application/json'
  if (mustBeJson(contentType) && body.length > 0) await requireJson(body)
  return {
    id: newId(),
    event: options.evento,
    body,
    contentType,
    method: options.metodo ?? null,
    path: options.ruta ?? null,
    headers: headersOf(options.cabecera),
    createdAt: new Date(),
    key: null,
    origin: null,
    onlyListener: null,
    notBefore: null,
    depth: 0,
  }
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

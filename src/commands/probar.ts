/** `probar`: one real request to a listener, outside the queue, printed whole. */
import type { Command } from 'commander'
import type { ProbeReport } from '../delivery/probe.ts'
import { OperationFailed } from '../errors.ts'
import { newId } from '../id.ts'
import type { Message } from '../model/message.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { headersOf, mustBeJson, readBody, requireJson } from './send-message.ts'

interface ProbarOptions {
  readonly evento: string
  readonly ruta?: string
  readonly metodo?: string
  readonly cabecera: readonly string[]
  readonly tipoContenido?: string
  readonly json?: boolean
}

export function probar(program: Command, context: Context): void {
  program
    .command('probar')
    .description('hace un pedido real a un listener, fuera de la cola, y lo muestra entero')
    .argument('<listener>', 'el de [listener NOMBRE]')
    .argument('[datos]', 'JSON; «-» lo lee de la entrada estándar, «@archivo» de un archivo', '{}')
    .option('--evento <evento>', 'nombre del evento', 'resthooks.prueba')
    .option('--ruta <ruta>', 'ruta del pedido, en lugar de la del listener')
    .option('--metodo <método>', 'método HTTP, en lugar del del listener')
    .option(
      '--cabecera <"K: V">',
      'cabecera del pedido (se puede repetir)',
      (text: string, all: string[]) => [...all, text],
      [],
    )
    .option('--tipo-contenido <tipo>', 'tipo de DATOS, si no es JSON')
    .option('--json', 'un documento JSON')
    .addHelpText(
      'after',
      '\nEl pedido lleva la cabecera X-Resthooks-Prueba: 1. Termina con 0 sólo si el listener lo aceptó.',
    )
    .action(async (name: string, data: string, options: ProbarOptions) => {
      const [{ requireListener }, { probe }] = await Promise.all([
        import('./select-listeners.ts'),
        import('../delivery/probe.ts'),
      ])
      const { listeners, secrets } = await context.config()
      const listener = requireListener(listeners, name)
      const { UNVERIFIED, UNVERIFIED_MEANS } = await import('../config/load.ts')
      if (process.env[UNVERIFIED] === '0') print.note(`Atención: ${UNVERIFIED} ${UNVERIFIED_MEANS}`)
      const message = await messageOf(data, options)
      const stop = new AbortController()
      const interrupt = () => stop.abort()
      process.once('SIGINT', interrupt)
      let report: ProbeReport
      try {
        report = await probe(listener, message, { version: __VERSION__, secrets, signal: stop.signal })
      } finally {
        process.off('SIGINT', interrupt)
      }
      if (options.json) print.json(await asJson(name, report))
      else {
        const { probeLines } = await import('./probe-text.ts')
        for (const each of await probeLines(report, message)) print.line(each)
      }
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
async function asJson(name: string, report: ProbeReport) {
  const { bodyText } = await import('./body-text.ts')
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
        (bodyText(request.responseBody, contentType(request.responseHeaders)) ?? request.responseBody),
      respuesta_truncada: request.responseTruncated,
      error: request.error,
      error_detalle: request.errorDetail,
    })),
  }
}

function contentType(headers: Readonly<Record<string, string | readonly string[]>> | null): string | null {
  return [headers?.['content-type'] ?? null].flat()[0] ?? null
}

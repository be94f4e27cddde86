/** What `probar` found, as lines for a person: `>` was sent, `<` came back, as curl shows them. */
import type { RequestRecord } from '../delivery/mask.ts'
import type { ProbeReport } from '../delivery/probe.ts'
import type { Message } from '../model/message.ts'
import { bodyLines } from './body-text.ts'
import { localTime, oneLine } from './print.ts'

const PHASES: Readonly<Record<string, string>> = {
  dns: 'DNS',
  conexion: 'conexión',
  tls: 'TLS',
  primer_byte: 'primer byte',
  total: 'total',
}

export async function probeLines(report: ProbeReport, message: Message): Promise<string[]> {
  const { names, tls, requests, outcome, diagnosis } = report
  const lines: string[] = []
  const add = (name: string, value: string) => lines.push(`${name.padEnd(10)}${oneLine(value)}`)
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
      add('', `hasta ${localTime(certificate.validTo)} (${days})`)
    }
    if (tls.problem !== null) add('', `no se acepta: ${tls.problem}`)
  }
  for (const request of requests) lines.push('', ...(await requestLines(request, message)))
  lines.push('', `${outcome.kind === 'success' ? '✔' : '✘'} ${oneLine(diagnosis)}`)
  return lines
}

async function requestLines(request: RequestRecord, message: Message): Promise<string[]> {
  const lines = [`> ${oneLine(`${request.method} ${request.url}`)}`]
  for (const [name, value] of Object.entries(request.requestHeaders)) lines.push(`> ${oneLine(`${name}: ${value}`)}`)
  // A request for a token is none of the message's, and its body is secret.
  const names = Object.keys(request.requestHeaders).map((name) => name.toLowerCase())
  const hasBody = names.includes('content-type') && names.includes('webhook-id')
  if (hasBody && message.body.length > 0) {
    lines.push('>', ...(await bodyLines(message.body, message.contentType)).map((each) => `> ${each}`))
  }
  const phases = Object.entries(request.phases ?? {}).map(([name, millis]) => `${PHASES[name] ?? name} ${millis} ms`)
  lines.push(`* ${[request.ip, ...phases].filter(Boolean).join(' · ')}`)
  if (request.status !== null) {
    lines.push(`< HTTP ${request.status}`)
    for (const [name, value] of Object.entries(request.responseHeaders ?? {})) {
      for (const each of [value].flat()) lines.push(`< ${oneLine(`${name}: ${each}`)}`)
    }
    if (request.responseBody !== null && request.responseBody.length > 0) {
      const type = [request.responseHeaders?.['content-type'] ?? null].flat()[0] ?? null
      lines.push('<', ...(await bodyLines(request.responseBody, type)).map((each) => `< ${each}`))
      if (request.responseTruncated) lines.push('* (cortado en max_respuesta)')
    }
  }
  if (request.error !== null) lines.push(`! ${oneLine(`${request.error}: ${request.errorDetail ?? ''}`)}`)
  return lines
}

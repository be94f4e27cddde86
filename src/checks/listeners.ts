/**
 * Each active listener from this machine: its name, its port, its TLS and the days its certificate has left. Apart, as each group
 * of checks is.
 */

import type { ListenerConfig } from '../config/config.ts'
import { type Endpoint, endpointOf, newProgress, openSocket, secureContext } from '../delivery/connect.ts'
import type { TlsInspection } from '../delivery/probe.ts'
import { lookAtTls, lookUp } from '../delivery/probe.ts'
import { errorDetail } from '../delivery/trouble.ts'
import { blockList } from '../model/http.ts'
import { typed } from '../model/typed.ts'
import { localDay } from '../model/words.ts'
import { aviso, error, type Finding, type GroupedFinding, group, ok } from './finding.ts'

const AT_ONCE = 10
const FEW_DAYS = 30

/** No request is sent: only connections. */
export async function checkListeners(listeners: Iterable<ListenerConfig>): Promise<GroupedFinding[]> {
  const active = [...listeners].filter((listener) => listener.active)
  const findings: GroupedFinding[] = []
  for (let i = 0; i < active.length; i += AT_ONCE) {
    const some = active.slice(i, i + AT_ONCE)
    const found = await Promise.all(some.map(checkListener))
    for (const [n, { name }] of some.entries()) findings.push(...group(`listener ${name}`, found[n]!))
  }
  return findings
}

async function checkListener(listener: ListenerConfig): Promise<Finding[]> {
  const endpoint = endpointOf(listener.url)
  const names = await lookUp(endpoint.host, listener.blockedNetworks)
  const trial = `vea el detalle: ${typed(`probar ${listener.name}`)}`
  if (names.error !== null) {
    return [error('DNS', `${endpoint.host} no se resuelve: ${names.error}`, 'revise «url» y el DNS de esta máquina')]
  }
  const list = names.addresses.map(({ address }) => address).join(', ')
  if (names.addresses.every(({ blocked }) => blocked)) {
    return [
      error(
        'DNS',
        `${endpoint.host} resuelve a ${list}, dentro de redes_bloqueadas`,
        'revise «url» y redes_bloqueadas',
      ),
    ]
  }
  const resolved = ok('DNS', list === endpoint.host ? `${list}, sin preguntarlo` : `${endpoint.host}: ${list}`)
  const refused = await connectTo({ ...endpoint, tls: false }, listener)
  if (refused !== null) {
    return [resolved, error('TCP', `${endpoint.host}:${endpoint.port}: ${refused}`, trial)]
  }
  const connected = ok('TCP', `${endpoint.host}:${endpoint.port}`)
  const tls = await lookAtTls(endpoint, names, listener)
  return [resolved, connected, ...(tls === null ? [] : checkTls(tls, trial))]
}

/** @returns why not, or null */
async function connectTo(endpoint: Endpoint, listener: ListenerConfig): Promise<string | null> {
  try {
    const socket = await openSocket(
      endpoint,
      {
        connectTimeout: listener.connectTimeout,
        blocked: blockList(listener.blockedNetworks),
        context: secureContext(listener.tls, false),
        session: undefined,
      },
      newProgress(),
      new AbortController().signal,
    )
    socket.destroy()
    return null
  } catch (cause) {
    return errorDetail(cause)
  }
}

/** Pure. */
export function checkTls({ protocol, certificate, problem }: TlsInspection, trial: string): Finding[] {
  const findings: Finding[] = []
  if (problem !== null) findings.push(error('TLS', problem, trial))
  else findings.push(ok('TLS', protocol ?? 'negociado'))
  if (certificate === null) return findings
  const { daysLeft, validTo, subject } = certificate
  const until = `${subject}, hasta ${localDay(validTo)}`
  const renew = 'avise a quien administra ese servidor que lo renueve'
  if (daysLeft < 0) findings.push(error('certificado', `vencido: ${until}`, renew))
  else if (daysLeft < FEW_DAYS) findings.push(aviso('certificado', `vence en ${daysLeft} días: ${until}`, renew))
  else findings.push(ok('certificado', `${daysLeft} días: ${until}`))
  return findings
}

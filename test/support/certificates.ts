/** Certificates made with openssl in a temporary folder: an authority, servers good and bad, a client. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peer } from './programs.ts'

export interface Pair {
  readonly cert: string
  readonly key: string
  readonly certFile: string
  readonly keyFile: string
}

export interface Certificates {
  readonly folder: string
  readonly ca: Pair
  /** For localhost and 127.0.0.1, signed by `ca`. */
  readonly server: Pair
  readonly wrongHost: Pair
  readonly expired: Pair
  readonly selfSigned: Pair
  readonly client: Pair
  /** Signed by nobody that a server trusts. */
  readonly strangerClient: Pair
  /** Signed by `ca`, until yesterday. */
  readonly expiredClient: Pair
  /** `client` as PKCS#12, protected by `clave`. */
  readonly bundle: Buffer
  remove(): void
}

export const openssl = peer('openssl')

export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'resthooks-certificados-'))
  const file = (name: string) => join(folder, name)
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const read = (name: string): Pair => ({
    certFile: file(`${name}.crt`),
    keyFile: file(`${name}.key`),
    cert: readFileSync(file(`${name}.crt`), 'utf8'),
    key: readFileSync(file(`${name}.key`), 'utf8'),
  })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const selfSigned = (name: string, subject: string, ...more: string[]) => {
    run('req', '-x509', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.crt`, '-subj', subject, ...more)
    return read(name)
  }
  const ca = selfSigned('ca', '/O=SIU/CN=Autoridad de prueba', '-days', '30')
  writeFileSync(file('ca.cnf'), CA_SETTINGS)
  writeFileSync(file('index.txt'), '')
  writeFileSync(file('serial'), '1000')
  const signed = (name: string, subject: string, names: string, from: string, to: string) => {
    run('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject)
    writeFileSync(file(`${name}.ext`), `subjectAltName=${names}\n`)
    const dates = ['-startdate', from, '-enddate', to]
    const files = ['-in', `${name}.csr`, '-out', `${name}.crt`, '-extfile', `${name}.ext`]
    run('ca', '-batch', '-notext', '-config', 'ca.cnf', ...dates, ...files)
    return read(name)
  }
  const [before, now, after] = [day(-60), day(-1), day(30)]
  const made = {
    folder,
    ca,
    server: signed('server', '/O=SIU/CN=servidor', 'DNS:localhost,IP:127.0.0.1', now, after),
    wrongHost: signed('wrong', '/O=SIU/CN=otro', 'DNS:otro.example.edu.ar', now, after),
    expired: signed('expired', '/O=SIU/CN=vencido', 'DNS:localhost,IP:127.0.0.1', before, now),
    selfSigned: selfSigned(
      'self',
      '/CN=localhost',
      '-days',
      '30',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
    ),
    client: signed('client', '/O=SIU/CN=pilaga', 'DNS:pilaga', now, after),
    expiredClient: signed('expired-client', '/O=SIU/CN=pilaga', 'DNS:pilaga', before, now),
    strangerClient: selfSigned('stranger', '/CN=desconocido', '-days', '30'),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
  run('pkcs12', '-export', '-in', 'client.crt', '-inkey', 'client.key', '-out', 'client.p12', '-passout', 'pass:clave')
  return { ...made, bundle: readFileSync(file('client.p12')) }
}

/** `YYMMDDhhmmssZ`, so many days from today. */
function day(offset: number): string {
  return `${new Date(Date.now() + offset * 86_400_000).toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`
}

const CA_SETTINGS = `
[ca]
default_ca = this
[this]
dir = .
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
[any]
organizationName = optional
commonName = supplied
`

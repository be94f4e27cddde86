/**
 * Certificates and keys, read while the configuration is: a path that does not exist, or a pair that does not fit, is an
 * error of the file that names it, not of the first delivery. While a worker runs, a renewal whose key comes after its
 * certificate is such an error for a moment, and the pair before stays in force.
 */
import crypto, { type KeyObject, type X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { localDay } from '../model/words.ts'
import type { TlsConfig } from './config.ts'
import { isReadableByOthers, reason } from './files.ts'
import { find, type Lookup, setting, showInForce } from './layers.ts'
import type { Position } from './problems.ts'
import { CONNECTION, type Section } from './settings.ts'

const CERTIFICATE = '-----BEGIN CERTIFICATE-----'
const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]*(?:-----END CERTIFICATE-----)?/g
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/

/** The text of the PEM certificate that a setting names, or null. */
export function readPem(lookup: Lookup, rows: Section, key: string): string | null {
  const file = readNamed(lookup, rows, key)
  if (file === null) return null
  const pem = pemText(file.bytes)
  const problem = pem.includes(CERTIFICATE)
    ? certificateProblem(file.path, pem)
    : `${file.path} no contiene un certificado PEM («${CERTIFICATE}»).`
  if (problem === null) return pem
  lookup.context.problems.add(file.position, problem)
  return null
}

/** Without what editors of other systems leave, and OpenSSL does not read: a byte order mark, lines that end in CR alone. */
function pemText(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
    .replace(/\r\n?/g, '\n')
}

/** The private CA and the client certificate, whatever the authentication: a server may ask for both. */
export function tlsConfig(lookup: Lookup): TlsConfig {
  const ca = readPem(lookup, CONNECTION, 'ca_cert')
  const passphrase = setting(lookup, CONNECTION, 'cert_pwd')
  const cert = readNamed(lookup, CONNECTION, 'cert_file')
  const key = readNamed(lookup, CONNECTION, 'key_file')
  // The key may stand in cert_file, and is not read without one.
  showInForce(lookup, 'key_file', cert === null ? null : 'clave leída')
  if (cert === null) return { ca, client: null }
  const { problems } = lookup.context
  if (/\.(?:p12|pfx)$/i.test(cert.path)) {
    if (key) problems.warn(key.position, 'no tiene efecto: un .p12 o .pfx ya trae su clave.')
    const problem = contextProblem({ pfx: cert.bytes, ...passphraseOf(passphrase) }, cert.path)
    if (problem !== null) problems.add(cert.position, problem)
    return { ca, client: { kind: 'pkcs12', bundle: cert.bytes, passphrase } }
  }
  const pem = pemText(cert.bytes)
  const keyPem = key === null ? pem : pemText(key.bytes)
  if (!pem.includes(CERTIFICATE)) {
    problems.add(cert.position, `${cert.path} no contiene un certificado PEM (si es PKCS#12, llámelo .p12 o .pfx).`)
  } else if (!PRIVATE_KEY.test(keyPem)) {
    const where = key ?? cert
    // A key_file that could not be read was reported; that the certificate lacks the key is then no news.
    if (key !== null || find(lookup.layers, 'key_file') === null) {
      problems.add(where.position, `${where.path} no contiene una clave privada PEM. Indíquela con key_file.`)
    }
  } else if (passphrase === null && keyPem.includes('ENCRYPTED')) {
    problems.add((key ?? cert).position, 'la clave privada está cifrada y falta cert_pwd.')
  } else {
    const problem = certificateProblem(cert.path, pem)
    if (problem !== null) problems.add(cert.position, problem)
    else {
      const mismatch = pairProblem({ path: cert.path, pem }, { path: (key ?? cert).path, pem: keyPem }, passphrase)
      if (mismatch !== null) problems.add((key ?? cert).position, mismatch)
    }
  }
  return { ca, client: { kind: 'pem', cert: pem, key: keyPem, passphrase } }
}

/** Our own certificate as a listener would see it, or null where there is none that can be read. */
export function clientCertificate({ client }: TlsConfig): X509Certificate | null {
  try {
    if (client?.kind === 'pem') return new crypto.X509Certificate(client.cert)
    if (client?.kind !== 'pkcs12') return null
    // Node opens a PKCS#12 only to use it: a socket that is connected to nothing shows what it would use.
    const secureContext = tls.createSecureContext({ pfx: client.bundle, ...passphraseOf(client.passphrase) })
    const socket = new tls.TLSSocket(new Duplex(), { secureContext })
    const certificate = socket.getX509Certificate() ?? null
    socket.destroy()
    return certificate
  } catch {
    // What is wrong with it was said when it was read.
    return null
  }
}

/** `venció el 2026-11-25`, `vale desde el …`; null while it is valid. */
export function validity({ validFrom, validTo }: X509Certificate, now: number): string | null {
  const day = (text: string) => localDay(new Date(text))
  if (now > Date.parse(validTo)) return `venció el ${day(validTo)}`
  return now < Date.parse(validFrom) ? `vale recién desde el ${day(validFrom)} (¿reloj atrasado?)` : null
}

function passphraseOf(passphrase: string | null): { passphrase?: string } {
  return passphrase === null ? {} : { passphrase }
}

/** Every certificate of a chain, as OpenSSL leaves out of a `ca` what it cannot read without a word. */
function certificateProblem(path: string, pem: string): string | null {
  try {
    for (const [block] of pem.matchAll(CERTIFICATES)) new crypto.X509Certificate(block)
    return null
  } catch (error) {
    return `el certificado de ${path} está incompleto o dañado (${(error as Error).message}): cópielo de nuevo, entero.`
  }
}

function pairProblem(
  cert: { path: string; pem: string },
  key: { path: string; pem: string },
  passphrase: string | null,
): string | null {
  let privateKey: KeyObject
  try {
    privateKey = crypto.createPrivateKey({ key: key.pem, ...passphraseOf(passphrase) })
  } catch (error) {
    const { message } = error as Error
    // A wrong password is found out by what comes of it, one time in 256 as a damaged key.
    return key.pem.includes('ENCRYPTED')
      ? `cert_pwd no abre la clave privada de ${key.path} (${message}): revise cert_pwd, o copie de nuevo el archivo.`
      : `la clave privada de ${key.path} está incompleta o dañada (${message}): cópiela de nuevo, entera.`
  }
  if (!new crypto.X509Certificate(cert.pem).checkPrivateKey(privateKey)) {
    return `la clave de ${key.path} no es la del certificado de ${cert.path}: indique la que se usó para pedirlo.`
  }
  return contextProblem({ cert: cert.pem, key: key.pem, ...passphraseOf(passphrase) }, cert.path)
}

/** What OpenSSL itself finds wrong, as it would at the first delivery. */
function contextProblem(options: Parameters<typeof tls.createSecureContext>[0], path: string): string | null {
  try {
    tls.createSecureContext(options)
    return null
  } catch (error) {
    const { message } = error as Error
    if (/mac verify/i.test(message)) return `cert_pwd no abre ${path}: revise cert_pwd.`
    if (/unsupported/i.test(message)) {
      return (
        `${path} usa un cifrado antiguo (RC2) que OpenSSL 3 ya no abre. Conviértalo: openssl pkcs12 -legacy -in ${path} -nodes -out par.pem` +
        ', y nombre ese archivo (0600) en cert_file.'
      )
    }
    return `${path} no se puede usar (${message}): cópielo de nuevo, entero.`
  }
}

/** A file whose path is relative to the file that names it. */
function readNamed(
  lookup: Lookup,
  rows: Section,
  key: string,
): { path: string; bytes: Buffer; position: Position } | null {
  const { context } = lookup
  const name = setting(lookup, rows, key) as string | null
  const found = find(lookup.layers, key)
  if (name === null || found === null) return null
  const path = isAbsolute(name) ? name : resolve(found.folder, name)
  context.watched.add(path)
  try {
    const bytes = readFileSync(path)
    if (isReadableByOthers(path) && PRIVATE_KEY.test(bytes.toString('latin1'))) {
      context.problems.warn(
        found.position,
        `cualquier usuario puede leer la clave privada de ${path}: chmod o-r ${path}`,
      )
    }
    return { path, bytes, position: found.position }
  } catch (error) {
    context.problems.add(found.position, `${path}: ${reason(error)}`)
    return null
  }
}

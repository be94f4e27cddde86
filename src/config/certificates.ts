/**
 * Certificates and keys, read while the configuration is: a path that does not exist is an error of the file that names it,
 * not of the first delivery.
 */
import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import type { TlsConfig } from './config.ts'
import { isReadableByOthers, reason } from './files.ts'
import { text } from './kinds.ts'
import type { Place } from './problems.ts'
import { find, type Reader, setting } from './settings.ts'

const CERTIFICATE = '-----BEGIN CERTIFICATE-----'
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----/

/** The text of the PEM certificate that a setting names, or null. */
export function readPem(reader: Reader, key: string): string | null {
  const file = readNamed(reader, key)
  if (file === null) return null
  const pem = file.bytes.toString('latin1')
  if (pem.includes(CERTIFICATE)) return pem
  reader.context.problems.add(file.place, `${file.path} no contiene un certificado PEM («${CERTIFICATE}»).`)
  return null
}

/** The private CA and the client certificate, whatever the authentication: a server may ask for both. */
export function tlsConfig(reader: Reader): TlsConfig {
  const ca = readPem(reader, 'ca_cert')
  const passphrase = setting(reader, 'cert_pwd', text, null)
  const cert = readNamed(reader, 'cert_file')
  const key = readNamed(reader, 'key_file')
  if (cert === null) return { ca, client: null }
  const { problems } = reader.context
  if (/\.(?:p12|pfx)$/i.test(cert.path)) {
    if (key) problems.warn(key.place, 'no tiene efecto: un .p12 o .pfx ya trae su clave.')
    return { ca, client: { kind: 'pkcs12', bundle: cert.bytes, passphrase } }
  }
  const pem = cert.bytes.toString('latin1')
  const keyPem = key === null ? pem : key.bytes.toString('latin1')
  if (!pem.includes(CERTIFICATE)) {
    problems.add(cert.place, `${cert.path} no contiene un certificado PEM (si es PKCS#12, llámelo .p12 o .pfx).`)
  } else if (!PRIVATE_KEY.test(keyPem)) {
    const where = key ?? cert
    // A key_file that could not be read was reported; that the certificate lacks the key is then no news.
    if (key !== null || find(reader.layers, 'key_file') === null) {
      problems.add(where.place, `${where.path} no contiene una clave privada PEM. Indíquela con key_file.`)
    }
  } else if (passphrase === null && keyPem.includes('ENCRYPTED')) {
    problems.add((key ?? cert).place, 'la clave privada está cifrada y falta cert_pwd.')
  }
  return { ca, client: { kind: 'pem', cert: pem, key: keyPem, passphrase } }
}

/** A file whose path is relative to the file that names it. */
function readNamed(reader: Reader, key: string): { path: string; bytes: Buffer; place: Place } | null {
  const { context } = reader
  const name = setting(reader, key, text, null)
  const found = find(reader.layers, key)
  if (name === null || found === null) return null
  const path = isAbsolute(name) ? name : resolve(found.folder, name)
  context.watched.add(path)
  try {
    const bytes = readFileSync(path)
    if (isReadableByOthers(path) && PRIVATE_KEY.test(bytes.toString('latin1'))) {
      context.problems.warn(found.place, `cualquier usuario puede leer la clave privada de ${path}: chmod o-r ${path}`)
    }
    return { path, bytes, place: found.place }
  } catch (error) {
    context.problems.add(found.place, `${path}: ${reason(error)}`)
    return null
  }
}

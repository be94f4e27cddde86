import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { beforeAll, expect, test } from 'vitest'
import { type Folder, folder, listenerIni } from './folder.ts'

let certificate: string
let key: string
let encrypted: string
let bundle: Buffer

beforeAll(() => {
  const cwd = mkdtempSync(join(tmpdir(), 'resthooks-keys-'))
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd, stdio: 'pipe' })
  openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'k', '-out', 'c', '-subj', '/CN=x', '-days', '2')
  openssl('pkcs8', '-topk8', '-in', 'k', '-out', 'e', '-passout', 'pass:clave')
  openssl('pkcs12', '-export', '-in', 'c', '-inkey', 'k', '-out', 'b', '-passout', 'pass:clave')
  const read = (name: string) => readFileSync(join(cwd, name))
  certificate = read('c').toString()
  key = read('k').toString()
  encrypted = read('e').toString()
  bundle = read('b')
  rmSync(cwd, { recursive: true })
})

function place(lines: string, files: Record<string, string | Buffer>): Folder {
  const result = folder({ 'resthooks.ini': listenerIni(lines) })
  for (const [name, content] of Object.entries(files)) result.write(name, content)
  return result
}

test('a client certificate and its key, beside resthooks.ini', () => {
  const { load, path } = place('auth_tipo = ssl\ncert_file = tls/c.pem\nkey_file = tls/k.pem\nca_cert = tls/c.pem', {
    'tls/c.pem': certificate,
    'tls/k.pem': key,
  })
  const { listeners, files, warnings } = load()
  const { auth, tls } = listeners.get('x')!
  expect(auth).toEqual({ kind: 'ssl' })
  expect(tls).toEqual({ ca: certificate, client: { kind: 'pem', cert: certificate, key, passphrase: null } })
  expect(() => createSecureContext({ cert: certificate, key })).not.toThrow()
  expect(files.watched).toEqual(expect.arrayContaining([join(path, 'tls/c.pem'), join(path, 'tls/k.pem')]))
  expect(warnings).toEqual([])
})

test('one PEM may hold both, with any authentication', () => {
  const { load } = place('auth_tipo = bearer\nauth_token = t\ncert_file = both.pem', { 'both.pem': certificate + key })
  expect(load().listeners.get('x')!.tls.client).toMatchObject({ kind: 'pem', key: certificate + key })
})

test('.p12 and .pfx are PKCS#12', () => {
  const { load } = place('auth_tipo = ssl\ncert_file = b.p12\ncert_pwd = clave', { 'b.p12': bundle })
  expect(load().listeners.get('x')!.tls.client).toEqual({ kind: 'pkcs12', bundle, passphrase: 'clave' })
})

test('what is wrong with a certificate is an error of the line that names it', () => {
  const of = (lines: string, files: Record<string, string | Buffer>) => place(lines, files).errors()
  expect(of('auth_tipo = ssl\ncert_file = no.pem', {})).toMatch(/un error:\n.*:4 \[listener x\] cert_file: .*no existe/)
  expect(of('cert_file = c.pem', { 'c.pem': certificate })).toContain('no contiene una clave privada PEM')
  expect(of('cert_file = c.pem\nkey_file = k.pem', { 'c.pem': certificate, 'k.pem': 'x' })).toContain('key_file: ')
  expect(of('cert_file = c.pem', { 'c.pem': bundle })).toContain('si es PKCS#12, llámelo .p12 o .pfx')
  expect(of('cert_file = c.pem\nkey_file = e.pem', { 'c.pem': certificate, 'e.pem': encrypted })).toContain(
    'está cifrada y falta cert_pwd',
  )
  expect(of('ca_cert = c.pem', { 'c.pem': 'nada' })).toContain('ca_cert: ')
  expect(of('ca_cert = .', {})).toContain('es una carpeta')
})

test('a private key that others can read is told', () => {
  const keys = place('cert_file = both.pem', { 'both.pem': certificate + key })
  chmodSync(join(keys.path, 'both.pem'), 0o644)
  expect(keys.load().warnings).toEqual([expect.stringContaining('cualquier usuario puede leer la clave privada')])
})

test('the authority of Redis, from a file or a variable', () => {
  const redis = folder({ 'resthooks.ini': '[redis_config]\ntls = 1\nca = c.pem\n' })
  redis.write('c.pem', certificate)
  expect(redis.load().redis).toMatchObject({ tls: true, ca: certificate })
  redis.write('resthooks.ini', '')
  redis.write('instalador.env', 'REST_HOOKS_REDIS_TLS=1\nREST_HOOKS_REDIS_CA=c.pem')
  expect(redis.load().redis).toMatchObject({ tls: true, ca: certificate })
  redis.write('instalador.env', 'REST_HOOKS_REDIS_CA=no.pem')
  expect(redis.errors()).toMatch(/instalador\.env:1 REST_HOOKS_REDIS_CA: .*no\.pem/)
})

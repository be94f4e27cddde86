import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { clientCertificate } from '../../src/config/certificates.ts'
import { ConfigWatcher, type Reread } from '../../src/config/watch.ts'
import { openssl } from '../support/certificates.ts'
import { until } from '../support/until.ts'
import { type Folder, folder, listenerIni } from './folder.ts'

describe.skipIf(openssl.missing)(`certificates of a client${openssl.note}`, () => {
  let certificate: string
  let key: string
  let encrypted: string
  let bundle: Buffer
  let renewed: { certificate: string; key: string }
  let oldBundle: Buffer

  beforeAll(() => {
    const cwd = mkdtempSync(join(tmpdir(), 'resthooks-keys-'))
    const run = (...args: string[]) => execFileSync('openssl', args, { cwd, stdio: 'pipe' })
    run('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'k', '-out', 'c', '-subj', '/CN=x', '-days', '2')
    run('pkcs8', '-topk8', '-in', 'k', '-out', 'e', '-passout', 'pass:clave')
    run('pkcs12', '-export', '-in', 'c', '-inkey', 'k', '-out', 'b', '-passout', 'pass:clave')
    run('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'k2', '-out', 'c2', '-subj', '/CN=y', '-days', '2')
    run('pkcs12', '-export', '-legacy', '-in', 'c', '-inkey', 'k', '-out', 'l', '-passout', 'pass:clave')
    const read = (name: string) => readFileSync(join(cwd, name))
    certificate = read('c').toString()
    key = read('k').toString()
    encrypted = read('e').toString()
    bundle = read('b')
    renewed = { certificate: read('c2').toString(), key: read('k2').toString() }
    oldBundle = read('l')
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
    const { load } = place('auth_tipo = bearer\nauth_token = t\ncert_file = both.pem', {
      'both.pem': certificate + key,
    })
    expect(load().listeners.get('x')!.tls.client).toMatchObject({ kind: 'pem', key: certificate + key })
  })

  test('.p12 and .pfx are PKCS#12', () => {
    const { load } = place('auth_tipo = ssl\ncert_file = b.p12\ncert_pwd = clave', { 'b.p12': bundle })
    expect(load().listeners.get('x')!.tls.client).toEqual({ kind: 'pkcs12', bundle, passphrase: 'clave' })
  })

  test('what is wrong with a certificate is an error of the line that names it', () => {
    const of = (lines: string, files: Record<string, string | Buffer>) => place(lines, files).errors()
    expect(of('auth_tipo = ssl\ncert_file = no.pem', {})).toMatch(
      /un error:\n.*:4 \[listener x\] cert_file: .*no existe/,
    )
    expect(of('cert_file = c.pem', { 'c.pem': certificate })).toContain('no contiene una clave privada PEM')
    expect(of('cert_file = c.pem\nkey_file = k.pem', { 'c.pem': certificate, 'k.pem': 'x' })).toContain('key_file: ')
    expect(of('cert_file = c.pem', { 'c.pem': bundle })).toContain('si es PKCS#12, llámelo .p12 o .pfx')
    expect(of('cert_file = c.pem\nkey_file = e.pem', { 'c.pem': certificate, 'e.pem': encrypted })).toContain(
      'está cifrada y falta cert_pwd',
    )
    expect(of('ca_cert = c.pem', { 'c.pem': 'nada' })).toContain('ca_cert: ')
    expect(of('ca_cert = .', {})).toContain('es una carpeta')
  })

  test('a pair that OpenSSL would refuse at every delivery is refused here, with the file and the remedy', () => {
    const half = (pem: string) => pem.slice(0, pem.length / 2)
    const pair = 'cert_file = c.pem\nkey_file = k.pem'
    const cases: [string, Record<string, string | Buffer>, RegExp][] = [
      [
        pair,
        { 'c.pem': certificate, 'k.pem': renewed.key },
        /key_file: la clave de .*k\.pem no es la del certificado de/,
      ],
      [
        `${pair}\ncert_pwd = no`,
        { 'c.pem': certificate, 'k.pem': encrypted },
        /cert_pwd no abre la clave privada de .*k/,
      ],
      [pair, { 'c.pem': half(certificate), 'k.pem': key }, /cert_file: el certificado de .*c\.pem está incompleto/],
      [pair, { 'c.pem': certificate + half(certificate), 'k.pem': key }, /cert_file: el certificado de .*incompleto/],
      [pair, { 'c.pem': certificate, 'k.pem': half(key) }, /key_file: la clave privada de .*k\.pem está incompleta/],
      ['cert_file = b.p12\ncert_pwd = no', { 'b.p12': bundle }, /cert_file: cert_pwd no abre .*b\.p12/],
      ['cert_file = b.p12', { 'b.p12': bundle }, /cert_file: cert_pwd no abre .*b\.p12/],
      [
        'cert_file = b.p12\ncert_pwd = clave',
        { 'b.p12': oldBundle },
        /cifrado antiguo.*openssl pkcs12 -legacy -in .*b\.p12/,
      ],
      ['cert_file = b.p12\ncert_pwd = clave', { 'b.p12': bundle.subarray(0, 900) }, /b\.p12 no se puede usar/],
      ['ca_cert = c.pem', { 'c.pem': certificate + half(certificate) }, /ca_cert: el certificado de .*incompleto/],
    ]
    for (const [lines, files, error] of cases) expect(place(lines, files).errors()).toMatch(error)
  })

  test('a renewal whose key comes later: the old pair stays in force, and the key is noticed when it comes', async () => {
    const { load, write, path } = place('cert_file = c.pem\nkey_file = k.pem', {
      'c.pem': certificate,
      'k.pem': key,
    })
    // What a worker does with each change it is told of: an error changes nothing.
    let inForce = load()
    const told: string[] = []
    const options = { cwd: path, environment: {} }
    const read = (reread: Reread) => {
      if ('config' in reread) inForce = reread.config
      else told.push(reread.error.message)
    }
    const watcher = new ConfigWatcher(inForce, options, load, read, { every: 10, rest: 10 })
    onTestFinished(() => watcher.close())
    write('c.pem', renewed.certificate)
    await until(() => told.length > 0)
    expect(told[0]).toContain('no es la del certificado')
    expect(inForce.listeners.get('x')!.tls.client).toMatchObject({ cert: certificate, key })
    write('k.pem', renewed.key)
    await until(() => (inForce.listeners.get('x')!.tls.client as { cert: string }).cert === renewed.certificate)
  })

  test('a byte order mark and lines that end in CR alone are read', () => {
    const odd = (pem: string) => Buffer.from(`\ufeff${pem.replaceAll('\n', '\r')}`)
    const { load } = place('cert_file = c.pem\nkey_file = k.pem\nca_cert = c.pem', {
      'c.pem': odd(certificate),
      'k.pem': odd(key),
    })
    const { ca, client } = load().listeners.get('x')!.tls
    expect(() => createSecureContext({ ca: ca!, ...(client as { cert: string; key: string }) })).not.toThrow()
  })

  test('our own certificate, out of either kind of file', () => {
    const pem = place('cert_file = c.pem\nkey_file = k.pem', { 'c.pem': certificate, 'k.pem': key }).load()
    const p12 = place('cert_file = b.p12\ncert_pwd = clave', { 'b.p12': bundle }).load()
    for (const { listeners } of [pem, p12]) expect(clientCertificate(listeners.get('x')!.tls)!.subject).toBe('CN=x')
    expect(clientCertificate({ ca: null, client: null })).toBe(null)
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
})

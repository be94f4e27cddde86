/** The servers that our users run, with their own idea of basic, digest and client certificates. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AuthConfig, TlsConfig } from '../../src/config/config.ts'
import { type Certificates, makeCertificates, openssl } from '../support/certificates.ts'
import { freePort } from '../support/ports.ts'
import { findProgram, peer } from '../support/programs.ts'
import { until } from '../support/until.ts'
import { attempt, deliverer, message, never } from './scene.ts'

const nginx = peer('nginx')
const apache = peer('apache2')
const DIGEST = { kind: 'digest', username: 'pilaga', password: 'cl:ave' } as const
const BASIC = { kind: 'basic', username: 'pilaga', password: 'cl:ave' } as const

async function answering(url: string, child: ChildProcess, log: () => Promise<string>): Promise<void> {
  await until(
    async () => {
      if (child.exitCode !== null) throw new Error(`it ended: ${await log()}`)
      return fetch(url).then(() => true)
    },
    { what: `a server at ${url}` },
  )
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const forced = setTimeout(() => child.kill('SIGKILL'), 5000)
  await exit
  clearTimeout(forced)
}

function withClient(certificates: Certificates): TlsConfig {
  const { cert, key } = certificates.client
  return { ca: certificates.ca.cert, client: { kind: 'pem', cert, key, passphrase: null } }
}

const missing = nginx.missing || openssl.missing

describe.skipIf(missing)(`nginx${nginx.note || openssl.note}`, () => {
  let certificates: Certificates
  let folder: string
  let child: ChildProcess
  let ports: { plain: number; tls: number }

  beforeAll(async () => {
    certificates = makeCertificates()
    folder = await mkdtemp(join(tmpdir(), 'resthooks-nginx-'))
    ports = { plain: await freePort(), tls: await freePort() }
    const hash = execFileSync('openssl', ['passwd', '-apr1', BASIC.password]).toString().trim()
    await writeFile(join(folder, 'usuarios'), `${BASIC.username}:${hash}\n`)
    await writeFile(
      join(folder, 'nginx.conf'),
      `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 256; }
http {
  access_log ${folder}/access.log;
  client_body_temp_path ${folder}/t1; proxy_temp_path ${folder}/t2; fastcgi_temp_path ${folder}/t3;
  uwsgi_temp_path ${folder}/t4; scgi_temp_path ${folder}/t5;
  keepalive_requests 5;
  server {
    listen 127.0.0.1:${ports.plain};
    location / { return 200 ok; }
    location /basic { auth_basic "privado"; auth_basic_user_file ${folder}/usuarios; try_files /nada @ok; }
    location @ok { return 200 adentro; }
  }
  server {
    listen 127.0.0.1:${ports.tls} ssl;
    ssl_certificate ${certificates.server.certFile}; ssl_certificate_key ${certificates.server.keyFile};
    ssl_client_certificate ${certificates.ca.certFile}; ssl_verify_client on;
    location / { return 200 $ssl_client_s_dn; }
  }
}`,
    )
    child = spawn(findProgram('nginx')!, ['-p', folder, '-e', `${folder}/error.log`, '-c', `${folder}/nginx.conf`], {
      stdio: 'ignore',
    })
    await answering(`http://127.0.0.1:${ports.plain}/`, child, () => readFile(`${folder}/error.log`, 'utf8'))
  })
  afterAll(async () => {
    await ended(child)
    certificates.remove()
    await rm(folder, { recursive: true, force: true })
  })

  test('basic', async () => {
    const url = `http://127.0.0.1:${ports.plain}/basic`
    const good = await attempt({ url, auth: BASIC })
    expect(good.requests).toMatchObject([{ status: 200, responseBody: Buffer.from('adentro') }])
    expect((await attempt({ url, auth: { ...BASIC, password: 'otra' } })).requests).toMatchObject([{ status: 401 }])
  })

  test('a client certificate; without it nginx answers 400', async () => {
    const url = `https://localhost:${ports.tls}/`
    const good = await attempt({ url, auth: { kind: 'ssl' }, tls: withClient(certificates) })
    expect(good.requests).toMatchObject([{ status: 200, responseBody: Buffer.from('CN=pilaga,O=SIU') }])
    const bad = await attempt({ url, tls: { ca: certificates.ca.cert, client: null } })
    expect(bad.requests[0]).toMatchObject({ status: 400 })
    expect(bad.outcome.kind).toBe('failure')
  })

  test('it closes every socket after five requests: none is lost, each is recorded once', async () => {
    const before = (await readFile(`${folder}/access.log`, 'utf8')).split('POST /contar').length
    const made = deliverer({ url: `http://127.0.0.1:${ports.plain}/contar`, concurrency: 4 })
    let records = 0
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let n = 0; n < 50; n++) {
          const { requests, outcome } = await made.attempt(message(), 1, never())
          expect(outcome.kind).toBe('success')
          records += requests.filter(({ status }) => status !== null).length
        }
      }),
    )
    expect(records).toBe(200)
    await until(
      async () => (await readFile(`${folder}/access.log`, 'utf8')).split('POST /contar').length - before === 200,
    )
  })
})

const modules = '/usr/lib/apache2/modules'
const digestModule = existsSync(`${modules}/mod_auth_digest.so`)

describe.skipIf(apache.missing || !digestModule || openssl.missing)(`Apache${apache.note || openssl.note}`, () => {
  let certificates: Certificates
  let folder: string
  let child: ChildProcess
  let ports: { plain: number; tls: number }
  const log = () => readFile(`${folder}/error.log`, 'utf8')

  beforeAll(async () => {
    certificates = makeCertificates()
    folder = await mkdtemp(join(tmpdir(), 'resthooks-apache-'))
    ports = { plain: await freePort(), tls: await freePort() }
    const { createHash } = await import('node:crypto')
    const realm = 'Area Restringida'
    const hash = createHash('md5').update(`${DIGEST.username}:${realm}:${DIGEST.password}`).digest('hex')
    await writeFile(join(folder, 'digest'), `${DIGEST.username}:${realm}:${hash}\n`)
    const apr1 = execFileSync('openssl', ['passwd', '-apr1', BASIC.password]).toString().trim()
    await writeFile(join(folder, 'basic'), `${BASIC.username}:${apr1}\n`)
    for (const area of ['basic', 'digest', 'viejo']) {
      await mkdir(join(folder, 'www', area), { recursive: true })
      await writeFile(join(folder, 'www', area, 'index.html'), area)
    }
    await writeFile(join(folder, 'www', 'index.html'), 'raiz')
    // Apache's children are another user when it is started by root.
    await chmod(folder, 0o755)
    const load = [
      'mpm_event',
      'authn_core',
      'authn_file',
      'authz_core',
      'authz_user',
      'auth_basic',
      'auth_digest',
      'dir',
      'ssl',
      'socache_shmcb',
    ]
      .filter((name) => existsSync(`${modules}/mod_${name}.so`))
      .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`)
    const digestArea = (path: string, more: string) => `<Location ${path}>
  AuthType Digest
  AuthName "${realm}"
  AuthUserFile ${folder}/digest
  ${more}
  Require valid-user
</Location>`
    await writeFile(
      join(folder, 'httpd.conf'),
      `ServerRoot ${folder}
ServerName localhost
PidFile ${folder}/pid
ErrorLog ${folder}/error.log
DefaultRuntimeDir ${folder}
Mutex file:${folder} default
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
Listen 127.0.0.1:${ports.plain}
Listen 127.0.0.1:${ports.tls}
${load.join('\n')}
StartServers 1
ThreadsPerChild 16
MaxRequestWorkers 16
DocumentRoot ${folder}/www
DirectoryIndex index.html
<Location /basic>
  AuthType Basic
  AuthName "privado"
  AuthUserFile ${folder}/basic
  Require valid-user
</Location>
${digestArea('/digest', 'AuthDigestQop auth')}
${digestArea('/viejo', 'AuthDigestNonceLifetime 1')}
<VirtualHost 127.0.0.1:${ports.tls}>
  SSLEngine on
  SSLCertificateFile ${certificates.server.certFile}
  SSLCertificateKeyFile ${certificates.server.keyFile}
  SSLCACertificateFile ${certificates.ca.certFile}
  SSLVerifyClient require
</VirtualHost>
`,
    )
    child = spawn(findProgram('apache2')!, ['-d', folder, '-f', `${folder}/httpd.conf`, '-DFOREGROUND'], {
      stdio: 'ignore',
    })
    await answering(`http://127.0.0.1:${ports.plain}/`, child, log)
  })
  afterAll(async () => {
    await ended(child)
    certificates.remove()
    await rm(folder, { recursive: true, force: true })
  })

  const url = (path: string) => `http://127.0.0.1:${ports.plain}${path}`
  const get = { method: 'GET' } as const
  const body = Buffer.alloc(0)

  test('basic', async () => {
    expect((await attempt({ url: url('/basic/'), auth: BASIC, ...get }, { body })).requests).toMatchObject([
      { status: 200 },
    ])
  })

  test('digest: two requests the first time, one from then on, also at once and with a query', async () => {
    const made = deliverer({ url: url('/digest/'), path: '?evento={evento}', auth: DIGEST, ...get })
    const first = await made.attempt(message({ body }), 1, never())
    expect(first.requests.map(({ status }) => status)).toEqual([401, 200])
    expect(String(first.requests[1]!.responseBody)).toBe('digest')
    const following = await Promise.all(Array.from({ length: 12 }, () => made.attempt(message({ body }), 1, never())))
    expect(following.map(({ requests }) => requests.map(({ status }) => status))).toEqual(
      Array.from({ length: 12 }, () => [200]),
    )
  })

  test('digest with a wrong password, and for a user that does not exist', async () => {
    for (const changes of [{ password: 'otra' }, { username: 'nadie' }]) {
      const auth: AuthConfig = { ...DIGEST, ...changes }
      const { requests, outcome } = await attempt({ url: url('/digest/'), auth, ...get }, { body })
      expect(requests.map(({ status }) => status)).toEqual([401, 401])
      expect(outcome).toMatchObject({ kind: 'retry', reason: 'HTTP 401' })
    }
  })

  test('a nonce that Apache calls stale is replaced within the attempt', async () => {
    const made = deliverer({ url: url('/viejo/'), auth: DIGEST, ...get })
    await made.attempt(message({ body }), 1, never())
    const stale = await until(
      async () => {
        const { requests } = await made.attempt(message({ body }), 1, never())
        expect(requests.at(-1)!.status).toBe(200)
        return requests.length === 2 ? requests : null
      },
      // Asked more often, Apache hands the next nonce out in time (Authentication-Info).
      { every: 1500 },
    )
    expect(stale.map(({ status }) => status)).toEqual([401, 200])
  })

  test('a client certificate; without it the handshake fails', async () => {
    const tls = `https://localhost:${ports.tls}/`
    const good = await attempt({ url: tls, auth: { kind: 'ssl' }, tls: withClient(certificates), ...get }, { body })
    expect(good.requests).toMatchObject([{ status: 200 }])
    const bad = await attempt({ url: tls, tls: { ca: certificates.ca.cert, client: null }, ...get }, { body })
    expect(bad.requests.at(-1)).toMatchObject({ status: null, error: expect.stringMatching(/^(tls|conexion)$/) })
  })
})

/** Servers that let nobody in without the credentials: a toba server's digest, an OAuth2 one, and Debian's Apache. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Script } from '../support/listener.ts'
import { freePort } from '../support/ports.ts'
import { findProgram, peer } from '../support/programs.ts'
import { until } from '../support/until.ts'

const REALM = 'Area Restringida'
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

/** Digest as toba's REST server asks for it: qop auth, no algorithm, opaque = md5(realm). */
export function tobaDigest(username: string, password: string): Script {
  const nonce = 'b1a0e4f55c1d8'
  const challenge = `Digest realm="${REALM}", qop="auth", nonce="${nonce}", opaque="${md5(REALM)}"`
  return ({ headers, method, url }) => {
    const field = (name: string) => new RegExp(`\\b${name}="?([^",]*)"?`).exec(headers.authorization ?? '')?.[1]
    const [a1, a2] = [md5(`${username}:${REALM}:${password}`), md5(`${method}:${url}`)]
    const expected = md5([a1, nonce, field('nc'), field('cnonce'), 'auth', a2].join(':'))
    const isWelcome = field('response') === expected && field('opaque') === md5(REALM) && field('uri') === url
    return isWelcome ? { status: 201 } : { status: 401, headers: { 'WWW-Authenticate': challenge } }
  }
}

/** A token endpoint at `/token` and everything else behind the token. */
export function oauth2(client: string, secret: string, scope: string): Script {
  const token = 'token-que-nadie-debe-ver'
  return ({ headers, url, body }) => {
    if (url !== '/token') return { status: headers.authorization === `Bearer ${token}` ? 200 : 401 }
    const form = new URLSearchParams(body.toString())
    const isKnown = headers.authorization === `Basic ${Buffer.from(`${client}:${secret}`).toString('base64')}`
    const isRight = isKnown && form.get('grant_type') === 'client_credentials' && form.get('scope') === scope
    if (!isRight) return { status: 401, body: '{"error":"invalid_client"}' }
    const granted = { access_token: token, token_type: 'Bearer', expires_in: 3600 }
    return { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(granted) }
  }
}

const MODULES = '/usr/lib/apache2/modules'
export const apache = peer('apache2', `${MODULES}/mod_auth_digest.so`)

export interface Apache {
  readonly url: string
  close(): Promise<void>
}

/** Apache with mod_auth_digest over everything, and one file that it answers with. @param path of that file (`rest/x`) */
export async function startApache(username: string, password: string, path: string): Promise<Apache> {
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-apache-'))
  // Apache's children are another user when it is started by root.
  await chmod(folder, 0o755)
  const file = join(folder, 'www', path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, 'adentro')
  await writeFile(join(folder, 'usuarios'), `${username}:${REALM}:${md5(`${username}:${REALM}:${password}`)}\n`)
  const port = await freePort()
  const modules = ['mpm_event', 'authn_core', 'authn_file', 'authz_core', 'authz_user', 'auth_digest']
    .filter((name) => existsSync(`${MODULES}/mod_${name}.so`))
    .map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`)
  await writeFile(
    join(folder, 'httpd.conf'),
    `ServerRoot ${folder}
ServerName localhost
PidFile ${folder}/pid
ErrorLog ${folder}/error.log
DefaultRuntimeDir ${folder}
Mutex file:${folder} default
${process.getuid?.() === 0 ? 'User www-data\nGroup www-data' : ''}
Listen 127.0.0.1:${port}
${modules.join('\n')}
StartServers 1
ThreadsPerChild 8
MaxRequestWorkers 8
DocumentRoot ${folder}/www
<Location />
  AuthType Digest
  AuthName "${REALM}"
  AuthDigestQop auth
  AuthUserFile ${folder}/usuarios
  Require valid-user
</Location>
`,
  )
  const child = spawn(findProgram('apache2')!, ['-d', folder, '-f', `${folder}/httpd.conf`, '-DFOREGROUND'], {
    stdio: 'ignore',
  })
  const url = `http://127.0.0.1:${port}`
  const close = async () => {
    await ended(child)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await until(
      async () => {
        if (child.exitCode !== null) throw new Error(`Apache ended: ${await readFile(`${folder}/error.log`, 'utf8')}`)
        return fetch(url).then(() => true)
      },
      { what: `Apache at ${url}` },
    )
  } catch (error) {
    await close()
    throw error
  }
  return { url, close }
}

/** Ends a server of a test, by force where it does not listen. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const forced = setTimeout(() => child.kill('SIGKILL'), 5000)
  await exit
  clearTimeout(forced)
}

/**
 * The README's recipes, each run as it stands there against a server that demands what it gives; only hosts, ports and
 * paths are replaced by the test's.
 */
import { execFileSync, spawn } from 'node:child_process'
import { appendFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { describe, onTestFinished } from 'vitest'
import { makeCertificates, openssl } from '../support/certificates.ts'
import { cleanEnvironment, runProgram } from '../support/cli.ts'
import { type Script, type ScriptedListener, startListener } from '../support/listener.ts'
import { freePort } from '../support/ports.ts'
import { peer } from '../support/programs.ts'
import { until } from '../support/until.ts'
import { expect, test, type World } from '../support/world.ts'
import { apache, ended, oauth2, startApache, tobaDigest } from './demanding-servers.ts'
import { blockText } from './readme-blocks.ts'

const SUPPLIER = { id: 7, razon_social: 'Núñez S.A.' }
const BASE = /https:\/\/[a-z]+\.example\.edu\.ar(?=\/)/g

async function serve(script: Script): Promise<ScriptedListener> {
  const server = await startListener(script)
  onTestFinished(() => server.close())
  return server
}

/** Adds a recipe to resthooks.ini. @throws when it names no host that can be replaced */
async function follow(world: World, name: string, url: string): Promise<void> {
  const text = blockText(name)
  if (!text.match(BASE)) throw new Error(`the block «${name}» has no https://….example.edu.ar/`)
  await appendFile(world.ini, `\n${text.replaceAll(BASE, url)}`)
}

/** The message is delivered at the first attempt, and neither the audit nor the worker's log tells the secrets. */
async function delivered(world: World, secrets: readonly string[], event = 'proveedor.alta') {
  const worker = await world.worker()
  const id = await world.send(event, SUPPLIER)
  await world.settled(id)
  const audit = await world.audit(id)
  expect(audit.length).toBeGreaterThan(0)
  for (const { estado, intentos } of audit) {
    expect(estado).toBe('exitosa')
    expect(new Set(intentos.map(({ numero }) => numero))).toEqual(new Set([1]))
  }
  const told = JSON.stringify(audit) + (await world.cli(['ver', id])).stdout + worker.output
  for (const secret of secrets) expect(told).not.toContain(secret)
  return { id, audit }
}

async function tobaRecipe(world: World, url: string): Promise<string> {
  const text = blockText('cliente.ini de toba')
  const [path] = /\/opt\/siu\/instalacion\/\S+/.exec(text)!
  const file = path
    .replace('/opt/siu/instalacion', world.folder)
    .replace('i__produccion', `i__${world.instancia}`)
    .replace('p__pilaga', `p__${world.proyecto}`)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, text.replace(BASE, url), { mode: 0o600 })
  await appendFile(world.ini, `\n${blockText('toba digest')}`)
  return /auth_password = "(.*)"/.exec(text)![1]!
}

test('toba: servicio reads its cliente.ini, and digest lets the message in', async ({ world }) => {
  const server = await serve((request, n) => tobaDigest('pilaga', 'clave del usuario')(request, n))
  const password = await tobaRecipe(world, server.url)
  const { audit } = await delivered(world, [password])
  expect(audit[0]).toMatchObject({ listener: 'diaguita', intentos: [{ http_estado: 401 }, { http_estado: 201 }] })
  expect(server.requests.at(-1)).toMatchObject({ url: '/rest/proveedores', method: 'POST' })
  expect(JSON.parse(server.requests.at(-1)!.body.toString())).toEqual(SUPPLIER)
})

describe.skipIf(apache.missing)(`Apache${apache.note}`, () => {
  test('the same recipe before mod_auth_digest', async ({ world }) => {
    const server = await startApache('pilaga', 'clave del usuario', 'rest/proveedores')
    onTestFinished(() => server.close())
    await tobaRecipe(world, server.url)
    const { audit } = await delivered(world, ['clave del usuario'])
    expect(audit[0]!.intentos).toMatchObject([{ http_estado: 401 }, { http_estado: 200 }])
    expect(String(audit[0]!.intentos[1]!.respuesta_cuerpo)).toBe('adentro')
  })
})

test('basic', async ({ world }) => {
  const pair = Buffer.from('pilaga:muy-secreta-1').toString('base64')
  const server = await serve(({ headers }) => ({ status: headers.authorization === `Basic ${pair}` ? 200 : 401 }))
  await follow(world, 'basic', server.url)
  await world.setEnv({ COMPRAS_CLAVE: 'muy-secreta-1' })
  await delivered(world, ['muy-secreta-1', pair])
})

test('an API key in the query, and one in a header', async ({ world }) => {
  const server = await serve(({ url, headers }) => {
    const key = url.startsWith('/rest/') ? new URL(url, 'http://x').searchParams.get('api_key') : headers['x-api-key']
    return { status: key === (url.startsWith('/rest/') ? 'secreta-de-guarani' : 'secreta-de-biblioteca') ? 200 : 401 }
  })
  await follow(world, 'clave de api', server.url)
  await world.setEnv({ GUARANI_CLAVE: 'secreta-de-guarani', BIBLIOTECA_CLAVE: 'secreta-de-biblioteca' })
  const { audit } = await delivered(world, ['secreta-de-guarani', 'secreta-de-biblioteca'])
  expect(audit.map(({ listener }) => listener)).toEqual(['biblioteca', 'guarani'])
})

describe.skipIf(openssl.missing)(`certificates${openssl.note}`, () => {
  test('a client certificate with an encrypted key, and the server’s own authority', async ({ world }) => {
    const certificates = makeCertificates()
    onTestFinished(() => certificates.remove())
    const { ca, server: identity, client } = certificates
    const subjects: string[] = []
    const server = createServer(
      { key: identity.key, cert: identity.cert, ca: ca.cert, requestCert: true, rejectUnauthorized: true },
      (request, response) => {
        subjects.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN))
        response.end()
      },
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })

    const folder = join(dirname(world.ini), 'certificados')
    await mkdir(folder)
    await writeFile(join(folder, 'autoridad.crt'), ca.cert)
    await writeFile(join(folder, 'pilaga.crt'), client.cert)
    const encrypted = ['-topk8', '-in', client.keyFile, '-out', join(folder, 'pilaga.key'), '-passout', 'pass:cl4ve-x']
    execFileSync('openssl', ['pkcs8', ...encrypted])
    await follow(world, 'certificado de cliente', `https://127.0.0.1:${(server.address() as AddressInfo).port}`)
    await world.setEnv({ RECTORADO_CLAVE: 'cl4ve-x' })
    await delivered(world, ['cl4ve-x', 'PRIVATE KEY'])
    expect(subjects).toEqual(['pilaga'])
  })
})

test('OAuth2: one token for several messages', async ({ world }) => {
  const server = await serve(oauth2('pilaga', 'muy-secreta-3', 'mensajes.escribir'))
  await follow(world, 'oauth2', server.url)
  await writeFile(world.ini, (await readFile(world.ini, 'utf8')).replace('/oauth2/token', '/token'))
  await world.setEnv({ HUARPE_CLAVE: 'muy-secreta-3' })
  await delivered(world, ['muy-secreta-3', 'token-que-nadie-debe-ver'])
  // By the same worker: each has a token of its own.
  await world.settled(await world.send('proveedor.alta', SUPPLIER))
  expect(server.requests.filter(({ url }) => url === '/token')).toHaveLength(1)
  expect(server.requests.filter(({ url }) => url === '/api/')).toHaveLength(2)
})

describe.skipIf(openssl.missing)(`a signed webhook${openssl.note}`, () => {
  const php = peer('php')
  test.skipIf(php.missing)(
    `is believed by the receiver in PHP, and only if it is ours${php.note}`,
    async ({ world }) => {
      const secret = await newSecret(world)
      const file = join(world.folder, 'avisos.php')
      await writeFile(file, blockText('receptor php'))
      const port = await freePort()
      await receiver(world, port, 'php', ['-S', `127.0.0.1:${port}`, file], secret)
    },
  )

  test('is believed by the receiver in Node, and only if it is ours', async ({ world }) => {
    const secret = await newSecret(world)
    const port = await freePort()
    const file = join(world.folder, 'avisos.mjs')
    await symlink(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(world.folder, 'node_modules'))
    await writeFile(file, blockText('receptor node').replace('3000', String(port)))
    await receiver(world, port, process.execPath, [file], secret)
  })
})

/** Runs the recipe that makes the secret. @returns what it wrote into instalador.env */
async function newSecret(world: World): Promise<string> {
  const run = await runProgram('sh', ['-c', blockText('secreto').replaceAll('/opt/siu/instalacion', world.folder)])
  expect(run).toEqual({ code: 0, stdout: '', stderr: '' })
  const [, secret] = /^PORTAL_SECRETO=(whsec_\S{32})$/m.exec(await readFile(world.env, 'utf8'))!
  return secret!
}

async function receiver(world: World, port: number, program: string, args: readonly string[], secret: string) {
  const child = spawn(program, args, { env: cleanEnvironment({ PORTAL_SECRETO: secret }), stdio: 'pipe' })
  onTestFinished(() => ended(child))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const url = `http://127.0.0.1:${port}`
  await until(() => fetch(url).then(() => true), { what: `${program} at ${url}` })

  await follow(world, 'webhook firmado', url)
  const { id, audit } = await delivered(world, [secret])
  await until(() => output.includes(`${id}: ${SUPPLIER.razon_social}`), { what: `the receiver's line in ${output}` })

  const [{ pedido_cabeceras: sent }] = audit[0]!.intentos as [{ pedido_cabeceras: Record<string, string> }]
  const forged = (headers: Record<string, string>, body: string) => fetch(url, { method: 'POST', headers, body })
  const now = String(Math.floor(Date.now() / 1000))
  const body = JSON.stringify(SUPPLIER)
  const bare = { 'webhook-id': id, 'webhook-timestamp': now }
  expect((await forged(bare, body)).status).toBe(401)
  expect((await forged({ ...bare, 'webhook-signature': `v1,${'A'.repeat(43)}=` }, body)).status).toBe(401)
  const signature = execFileSync('openssl', ['dgst', '-sha256', '-mac', 'HMAC', '-macopt', hexKey(secret), '-binary'], {
    input: `${id}.1000000000.${body}`,
  }).toString('base64')
  const replayed = { 'webhook-id': id, 'webhook-timestamp': '1000000000', 'webhook-signature': `v1,${signature}` }
  expect((await forged(replayed, body)).status).toBe(401)
  expect(sent['webhook-id']).toBe(id)
}

function hexKey(secret: string): string {
  return `hexkey:${Buffer.from(secret.slice('whsec_'.length), 'base64').toString('hex')}`
}

/** The doors of the page, and who is refused before any of them: by HTTP, as a browser or a program asks. */
import { request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { runCli } from '../support/cli.ts'
import { startPanel, Visitor } from '../support/panel.ts'
import { until } from '../support/until.ts'
import { expect, worldTest } from '../support/world.ts'
import { cheapEntry } from './entry.ts'

const test = worldTest()

/** What `fetch` does not let one say. */
function ask(url: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { headers }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
    asked.on('error', reject).end()
  })
}

test('without users: a key of one use, for this machine alone; every answer is shut in', async ({ world }) => {
  await world.createSchema()
  await world.set('listener uno', { url: 'http://127.0.0.1:1' })
  const page = await startPanel(world)
  try {
    const visitor = new Visitor(page.url)
    const refused = await visitor.ask<{ puertas: string[] }>('api/sesion')
    expect([refused.status, refused.json.puertas]).toEqual([401, ['llave']])
    const key = page.key()
    expect((await visitor.post('api/entrar', { llave: 'otra' })).status).toBe(401)
    const entered = await visitor.post('api/entrar', { llave: key })
    expect(entered.status).toBe(204)
    expect(entered.headers.get('set-cookie')).toMatch(/^resthooks_\S+=\S+; Path=\/; HttpOnly; SameSite=Strict$/)
    // Once: whoever finds it in a history gets nothing.
    expect((await new Visitor(page.url).post('api/entrar', { llave: key })).status).toBe(401)
    expect(page.key()).not.toBe(key)
    const session = await visitor.ask('api/sesion')
    expect(session.json).toMatchObject({ rol: 'administracion', entrada: 'llave', listeners: ['uno'] })
    expect(JSON.stringify(await world.redis.hgetall(world.keys.sessions))).not.toContain(visitor.cookie.split('=')[1])

    for (const path of ['', 'mensajes/x', 'api/sesion', 'api/nada']) {
      const { headers } = await visitor.ask(path)
      expect(headers.get('content-security-policy')).toMatch(
        /^default-src 'none'; script-src 'self'; .*frame-ancestors 'none'; require-trusted-types-for 'script'/,
      )
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('cache-control')).toBe('no-store')
    }
    const { text } = await visitor.ask('')
    expect(text).not.toMatch(/<style|style=|<script>|\son\w+=|https?:/)

    // Names that are not ours, and pages that are not ours.
    const { cookie } = visitor
    const port = new URL(page.url).port
    expect(await ask(`${page.url}api/sesion`, { host: `127.0.0.1:${port}`, cookie })).toBe(200)
    expect(await ask(`${page.url}api/sesion`, { host: `localhost:${port}`, cookie })).toBe(200)
    for (const host of ['malo.example', `malo.example:${port}`, '127.0.0.1', `127.0.0.1.malo.example:${port}`])
      expect(await ask(`${page.url}api/sesion`, { host, cookie }), host).toBe(421)
    for (const headers of [
      { origin: 'https://malo.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
    ] as Record<string, string>[]) {
      expect((await visitor.ask('api/sesion', { headers })).status, JSON.stringify(headers)).toBe(403)
      expect((await visitor.post('api/salir', {}, headers)).status).toBe(403)
    }
    expect((await visitor.ask('api/sesion', { headers: { origin: `http://127.0.0.1:${port}` } })).status).toBe(200)
    expect((await visitor.post('api/entrar', { llave: 'x'.repeat(100_000) })).status).toBe(413)
    for (const nothing of [null, 1, [], 'x']) expect((await visitor.post('api/entrar', nothing)).status).toBe(400)
    expect((await visitor.ask('api/acciones?despues=%00')).status).toBe(422)

    expect((await visitor.post('api/salir')).status).toBe(204)
    expect((await visitor.ask('api/sesion')).status).toBe(401)
    expect(await world.redis.hlen(world.keys.sessions)).toBe(0)
  } finally {
    await page.stop()
  }
})

test('users: password, role, rate limit, revocation, and the file decides at once', async ({ world }) => {
  await world.createSchema()
  const made = await runCli(['panel', '--clave'], { input: 'una clave larga\n' })
  expect(made).toMatchObject({ code: 0 })
  const clave = /^clave = (scrypt:\S+)\n$/.exec(made.stdout)![1]!
  await world.set('usuario ana', { clave, rol: 'lectura' })
  await world.set('usuario beto', { clave: cheapEntry('clave de beto'), rol: 'operacion', ver_cuerpos: 0 })
  await world.set('usuario carla', { clave: cheapEntry('clave de carla') })
  const page = await startPanel(world)
  try {
    expect(page.output).not.toContain('#llave=')
    const [ana, beto, carla] = [new Visitor(page.url), new Visitor(page.url), new Visitor(page.url)]
    const enter = (visitor: Visitor, usuario: string, clave: string) => visitor.post('api/entrar', { usuario, clave })
    expect((await enter(ana, 'ana', 'una clave larga')).status).toBe(204)
    expect((await enter(beto, 'beto', 'clave de beto')).status).toBe(204)
    expect((await enter(carla, 'carla', 'clave de carla')).status).toBe(204)
    const session = (visitor: Visitor) => visitor.ask<{ rol: string; puede: string[] }>('api/sesion')
    expect((await session(ana)).json).toMatchObject({ usuario: 'ana', rol: 'lectura', puede: [], cuerpos: true })
    expect((await session(beto)).json).toMatchObject({ rol: 'operacion', cuerpos: false })
    expect((await session(beto)).json.puede).not.toContain('descartar')

    // The same sentence for a name that nobody has.
    const wrong = await enter(new Visitor(page.url), 'carla', 'otra clave')
    const nobody = await enter(new Visitor(page.url), 'nadie', 'otra clave')
    expect([wrong.status, nobody.status, wrong.text]).toEqual([401, 401, nobody.text])
    const guesses = await Promise.all(
      Array.from({ length: 8 }, (_, n) => enter(new Visitor(page.url), 'carla', `clave ${n}`)),
    )
    expect(guesses.filter(({ status }) => status === 429)).toHaveLength(4)
    expect((await enter(new Visitor(page.url), 'carla', 'clave de carla')).status).toBe(429)

    // Ended from a terminal, and by the file.
    expect((await world.cli(['panel', '--cerrar-sesiones', 'beto'])).stdout).toBe('Sesiones terminadas: 1\n')
    await world.set('usuario ana', { rol: 'administracion' })
    await world.set('usuario carla', { clave: cheapEntry('otra de carla') })
    await until(async () => (await session(beto)).status === 401, { what: 'the end of beto' })
    await until(async () => (await session(ana)).json.rol === 'administracion', { what: 'the new role' })
    await until(async () => (await session(carla)).status === 401, { what: 'the end of carla' })
  } finally {
    await page.stop()
  }
})

test('a proxy at a named address says who is there; its users are those of the file', async ({ world }) => {
  await world.createSchema()
  await world.set('panel', { proxy: '127.0.0.1', nombres: 'gestion.uni.edu.ar', cabecera_usuario: 'X-Quien' })
  await world.set('usuario ana', { rol: 'operacion' })
  const page = await startPanel(world, ['--prefijo', '/resthooks/'])
  try {
    expect(page.url).toMatch(/\/resthooks\/$/)
    const visitor = new Visitor(page.url)
    const session = (headers: Record<string, string>) => visitor.ask<{ error: string }>('api/sesion', { headers })
    expect((await session({ 'x-quien': 'ana' })).json).toMatchObject({
      usuario: 'ana',
      rol: 'operacion',
      entrada: 'proxy',
    })
    expect((await session({ 'x-remote-user': 'ana' })).status).toBe(401)
    expect(await session({ 'x-quien': 'otra' })).toMatchObject({
      status: 401,
      json: { error: expect.stringContaining('«otra»') },
    })
    const origin = 'https://gestion.uni.edu.ar'
    expect((await session({ 'x-quien': 'ana', origin })).status).toBe(200)
    expect(await ask(`${page.url}api/sesion`, { host: 'gestion.uni.edu.ar', 'x-quien': 'ana' })).toBe(200)
    expect((await visitor.ask('')).text).toContain('<base href="/resthooks/">')
    expect((await visitor.ask('/', {})).status).toBe(404)
  } finally {
    await page.stop()
  }
})

test('where others could reach it and nobody could enter, it does not start', async ({ world }) => {
  const refused = await world.cli(['panel', '--direccion', '0.0.0.0:8580'])
  expect(refused).toMatchObject({ code: 3, stdout: '' })
  expect(refused.stderr).toContain('[usuario NOMBRE]')
  expect(await world.cli(['panel', '--direccion', 'http://x'])).toMatchObject({ code: 2 })
  expect(await world.cli(['panel', '--clave'], { input: 'corta\n' })).toMatchObject({ code: 2, stdout: '' })
})

test('what the browser loads is small: 60 KB compressed in all, 35 KB for the first view', async () => {
  const { gzipSync } = await import('node:zlib')
  const { readdir, readFile } = await import('node:fs/promises')
  const folder = fileURLToPath(new URL('../../dist/panel/', import.meta.url))
  const index = await readFile(`${folder}index.html`, 'utf8')
  const names = (await readdir(folder)).filter((name) => /\.(?:js|css|svg)$/.test(name))
  // Those of this build: the chunks that the entry names, and what they name.
  const first = names.filter((name) => index.includes(name))
  const all = new Set(first)
  for (const name of all) {
    const text = await readFile(folder + name, 'utf8')
    for (const other of names) if (text.includes(other)) all.add(other)
  }
  const size = async (some: Iterable<string>) =>
    (await Promise.all([...some].map(async (name) => (await readFile(`${folder}${name}.gz`)).length))).reduce(
      (a, b) => a + b,
      gzipSync(index).length,
    )
  expect(first).toHaveLength(3)
  expect(await size(first)).toBeLessThanOrEqual(35 * 1024)
  expect(await size(all)).toBeLessThanOrEqual(60 * 1024)
})

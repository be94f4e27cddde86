/** The page in Debian's Chromium: what a person does with it, and what hostile texts do not. One browser and one project for all. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, inject } from 'vitest'
import { NO_CHROMIUM, openBrowser } from '../support/browser.ts'
import { type RunningPanel, startPanel } from '../support/panel.ts'
import { startProxy, type TcpProxy } from '../support/proxy.ts'
import { until } from '../support/until.ts'
import { expect, sharedWorldTest, type World } from '../support/world.ts'
import { cheapEntry } from './entry.ts'

const test = NO_CHROMIUM === null ? sharedWorldTest() : sharedWorldTest().skip
if (NO_CHROMIUM !== null) process.stderr.write(`La página no se prueba en un navegador: ${NO_CHROMIUM}\n`)

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const HOSTILE = `<img src=x onerror="window.herido=1"><script>window.herido=1</script>\u202egnp.\u001b[31mrojo`

interface Scene {
  readonly browser: Browser
  readonly panel: RunningPanel
  readonly redis: () => TcpProxy
  readonly postgres: () => TcpProxy
  /** Cuts both, or brings them back. */
  reachable(what: 'redis' | 'postgres', yes: boolean): Promise<void>
  readonly hostile: string
}

let scene: Promise<Scene> | null = null
/** What the console of any page said. */
const said: string[] = []

async function set(world: World): Promise<Scene> {
  scene ??= (async () => {
    const listeners = Array.from({ length: 18 }, (_, n) => `sistema-${n}`)
    for (const name of listeners) await world.set(`listener ${name}`, { url: 'http://127.0.0.1:1', eventos: 'nada.*' })
    await world.listener(() => ({ status: 200, body: '{"ok":true}' }), { nombre: 'contable' })
    await world.listener(
      () => ({ status: 422, body: HOSTILE, headers: { 'content-type': 'text/html', 'x-malo': '<b onclick=1>' } }),
      {
        nombre: 'mapuche',
        eventos: '*legajo*',
      },
    )
    await world.set('usuario ana', { clave: cheapEntry('clave de ana'), rol: 'administracion' })
    await world.set('usuario eva', { clave: cheapEntry('clave de eva'), rol: 'lectura' })
    await world.worker()
    const hostile = await world.send(`legajo.<svg onload="window.herido=1">`, JSON.stringify({ dice: HOSTILE, n: 1.5 }))
    await world.cli(['send', '--lote'], {
      input: Array.from({ length: 70 }, (_, n) => JSON.stringify({ evento: 'legajo.alta', datos: { legajo: n } })).join(
        '\n',
      ),
    })
    await world.settled(hostile)
    await until(
      async () =>
        JSON.parse((await world.cli(['auditoria', '--contar', 'estado', '--json'])).stdout)[0]?.entregas === 71,
      { what: 'all of it' },
    )
    const servers = { redis: inject('redis'), postgres: inject('postgres') }
    const proxies = { redis: await startProxy(servers.redis), postgres: await startProxy(servers.postgres) }
    const panel = await startPanel(world, [], {
      env: {
        REST_HOOKS_REDIS_HOST: '127.0.0.1',
        REST_HOOKS_REDIS_PORT: String(proxies.redis.port),
        REST_HOOKS_DB_HOST: '127.0.0.1',
        REST_HOOKS_DB_PORT: String(proxies.postgres.port),
      },
    })
    return {
      browser: await openBrowser(),
      panel,
      redis: () => proxies.redis,
      postgres: () => proxies.postgres,
      reachable: async (what, yes) => {
        if (!yes) await proxies[what].close()
        else proxies[what] = await startProxy(servers[what], proxies[what].port)
      },
      hostile,
    }
  })()
  return scene
}

afterAll(async () => {
  if (scene === null) return
  const { browser, panel, redis, postgres } = await scene
  await browser.close()
  await panel.stop()
  await Promise.all([redis().close(), postgres().close()])
})

async function visit(
  { browser, panel }: Scene,
  name: string,
  width = 1280,
): Promise<{ page: Page; context: BrowserContext }> {
  const context = await browser.newContext({ viewport: { width, height: 740 }, locale: 'es-AR', bypassCSP: false })
  const page = await context.newPage()
  page.on('console', (message) => said.push(message.text()))
  page.on('pageerror', (error) => said.push(error.message))
  page.on('dialog', (dialog) => void dialog.dismiss())
  await page.goto(panel.url)
  await page.getByLabel('Usuario').fill(name)
  await page.getByLabel('Clave').fill(`clave de ${name}`)
  await page.getByRole('button', { name: 'Entrar' }).click()
  await page.getByRole('navigation', { name: 'Vistas' }).waitFor()
  return { page, context }
}

test('search, open, go back to the same row; keys; what a role may not is not there', async ({ world }) => {
  const on = await set(world)
  const { page, context } = await visit(on, 'eva')
  await page.keyboard.press('/')
  await page.keyboard.type('mapuche fallidas legajo.alta')
  await page.keyboard.press('Enter')
  await page.getByText('listener: mapuche').waitFor()
  expect(page.url()).toContain('mensajes?q=mapuche+fallidas+legajo.alta')
  expect(await page.getByText('las últimas 24 horas').count()).toBe(1)
  expect(await page.getByRole('button', { name: /Reenviar|Descartar/ }).count()).toBe(0)

  for (let n = 0; n < 30; n++) await page.keyboard.press('j')
  const row = () => page.evaluate<string | null>(`document.activeElement?.closest('[data-fila]')?.dataset.fila`)
  const [focused, y] = [await row(), await page.evaluate<number>('scrollY')]
  expect(focused).toBeTruthy()
  expect(y).toBeGreaterThan(0)
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'legajo.alta' }).waitFor()
  await page.goBack()
  await until(async () => (await row()) === focused, { what: 'the same row in focus' })
  await until(async () => Math.abs((await page.evaluate<number>('scrollY')) - y) < 2, { what: 'the same place' })

  // A page further and back, the whole in the address.
  await page.getByRole('button', { name: 'más viejas' }).click()
  await page.waitForURL(/despues=/)
  await until(async () => (await page.locator('tbody tr').count()) === 20, { what: 'the second page' })
  await page.getByRole('button', { name: 'más nuevas' }).click()
  await until(async () => (await page.locator('tbody tr').count()) === 50, { what: 'the first page' })
  await page.getByRole('link', { name: 'Quitar estado: fallida' }).click()
  await page.waitForURL(/q=mapuche\+legajo.alta$/)

  await page.goto(`${on.panel.url}mensajes?q=proveedor+8`)
  await page.getByText('Se buscaron entregas que dicen «proveedor» y «8», en las últimas 24 horas.').waitFor()
  await context.close()
})

test('hostile texts are texts, and the console has nothing to say', async ({ world }) => {
  const on = await set(world)
  const { page, context } = await visit(on, 'ana')
  await page.goto(`${on.panel.url}mensajes/${on.hostile}`)
  await page.getByRole('heading', { level: 1 }).waitFor()
  const delivery = page.getByRole('region', { name: 'Entrega a mapuche' })
  if ((await delivery.locator('.intercambio').count()) === 0) await delivery.locator('.pedido').first().click()
  await delivery.locator('.intercambio pre').last().waitFor()
  const text = await page.locator('main').textContent()
  expect(text).toContain('legajo.<svg onload="window.herido=1">')
  expect(text).toContain('<img src=x onerror="window.herido=1">')
  expect(text).toContain('\\u202egnp.\\u001b[31mrojo')
  expect(text).toContain('x-malo: <b onclick=1>')
  for (const tab of ['Pedido', 'curl', 'Fases']) await delivery.getByRole('tab', { name: tab }).click()
  await page.goto(`${on.panel.url}mensajes?q=${encodeURIComponent(HOSTILE.slice(0, 40))}`)
  await page.getByText('No se encontró nada.').or(page.locator('tbody tr')).first().waitFor()
  await page.goto(on.panel.url)
  // uPlot draws by itself, under the same policy.
  await page.locator('canvas').waitFor()
  expect(await page.evaluate(`'herido' in window`)).toBe(false)
  expect(said.filter((line) => !/401|422/.test(line))).toEqual([])
  await context.close()
})

test('a resend by filter, a pause: shown first, confirmed by a click, told with who did it', async ({ world }) => {
  const on = await set(world)
  const { page, context } = await visit(on, 'ana')
  await page.goto(`${on.panel.url}mensajes?q=${encodeURIComponent('mapuche legajo.alta')}`)
  await page.locator('tbody tr').first().waitFor()
  await page.locator('[data-accion=reenviar]').click()
  const sheet = page.getByRole('dialog')
  await sheet.getByRole('button', { name: 'Reenviar 70 entregas' }).waitFor()
  await sheet.getByText('y 65 más').waitFor()
  // Enter confirms nothing: it leaves, and the focus is where it was.
  await page.keyboard.press('Enter')
  await sheet.waitFor({ state: 'detached' })
  expect(await page.evaluate('document.activeElement.dataset.accion')).toBe('reenviar')
  await page.keyboard.press('Enter')
  await sheet.getByRole('button', { name: 'Reenviar 70 entregas' }).click()
  await sheet.getByText('Entregas reenviadas: 70.').waitFor()
  await sheet.getByRole('link', { name: 'Ver en Acciones' }).click()
  await page
    .getByRole('row', { name: /ana.*resthooks reenviar/ })
    .first()
    .waitFor()

  await page.goto(`${on.panel.url}listeners/contable`)
  await page.getByRole('button', { name: 'Pausar…' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Pausar', exact: true }).click()
  await page.getByText('contable: pausado, sin fin.').waitFor()
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Cerrar')
  // Escape leaves the sheet, not what is below it, also where the focus is on nothing.
  await page.evaluate('document.activeElement.blur()')
  await page.keyboard.press('Escape')
  await sheet.waitFor({ state: 'detached' })
  expect(await page.evaluate('new Promise((done) => setTimeout(() => done(location.pathname), 200))')).toMatch(
    /contable$/,
  )
  await page.goto(on.panel.url)
  await page.getByText('pausado por ana@127.0.0.1').waitFor()
  await context.close()
})

test('Redis or Postgres go away while it is open: it says so, the rest goes on, and it comes back', async ({
  world,
}) => {
  const on = await set(world)
  const { page, context } = await visit(on, 'ana')
  await page.goto(`${on.panel.url}mensajes`)
  await page.locator('tbody tr').first().waitFor()
  await on.reachable('redis', false)
  await page.getByRole('link', { name: 'Inicio' }).click()
  await page
    .getByText(/^Redis .*(?:rechaza la conexión|se cortó la conexión)/)
    .first()
    .waitFor()
  await page.getByRole('link', { name: 'Mensajes' }).click()
  await page.locator('tbody tr').first().waitFor()
  await on.reachable('redis', true)
  await until(async () => (await page.locator('.corte').count()) === 0, { what: 'Redis is back' })
  await on.reachable('postgres', false)
  await page.getByRole('link', { name: 'Listeners', exact: true }).click()
  await page.getByRole('link', { name: 'mapuche' }).waitFor()
  await page.getByRole('link', { name: 'Mensajes' }).click()
  await page.locator('.corte').filter({ hasText: 'Postgres' }).waitFor()
  await on.reachable('postgres', true)
  await until(async () => (await page.locator('.corte').count()) === 0, { what: 'Postgres is back' })
  await page.getByRole('button', { name: 'Volver a intentar' }).click()
  await page.locator('tbody tr').first().waitFor()
  await context.close()
})

test('every view passes axe, light and dark, and fits 360 pixels', async ({ world }) => {
  const on = await set(world)
  const { page, context } = await visit(on, 'ana', 360)
  const views: readonly (readonly [string, string])[] = [
    ['', '.servicios'],
    ['mensajes', 'tbody tr'],
    [`mensajes/${on.hostile}`, '.entrega'],
    ['mensajes?q=nada+de+nada', '.vacio'],
    ['mensajes?q=listener:nadie', '.problema'],
    ['listeners', 'tbody tr'],
    ['listeners/mapuche', '.cifras'],
    ['acciones', 'main table, main .vacio'],
  ]
  // What is run here stands outside of the page's policy, as a browser's own tools do.
  const serious = async (view: string, rules?: readonly string[]) => {
    const runOnly = rules ? `, runOnly: ${JSON.stringify(rules)}` : ''
    const found = await page.evaluate<{ id: string; impact: string; nodes: { html: string }[] }[]>(
      `axe.run(document, { resultTypes: ['violations']${runOnly} }).then(({ violations }) => violations)`,
    )
    return found
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${view} ${id}: ${nodes[0]?.html}`)
  }
  const wrong: string[] = []
  await page.evaluate(AXE)
  expect(
    await page.evaluate(`document.body.insertAdjacentElement('afterbegin', document.createElement('button')) && 1`),
  ).toBe(1)
  expect(await serious('a button without a name')).not.toEqual([])
  for (const [path, shown] of views) {
    await page.goto(on.panel.url + path)
    await page.locator(shown).first().waitFor()
    await page.evaluate(AXE)
    await page.emulateMedia({ colorScheme: 'light' })
    wrong.push(...(await serious(`${path} light`)))
    // Colours are all that differs.
    await page.emulateMedia({ colorScheme: 'dark' })
    wrong.push(...(await serious(`${path} dark`, ['color-contrast'])))
    const wide = await page.evaluate('document.documentElement.scrollWidth > innerWidth')
    if (wide) wrong.push(`${path} is wider than 360 pixels`)
  }
  await page.getByRole('button', { name: 'Salir' }).click()
  await page.getByLabel('Usuario').waitFor()
  wrong.push(...(await serious('entrar')))
  expect(wrong).toEqual([])
  await context.close()
})

/** The pictures of the manual, from the demo's data: what each shows is its name. */
import { mkdir } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { openBrowser } from '../support/browser.ts'
import { until } from '../support/until.ts'
import type { openPage, Run } from './page.ts'

interface Picture {
  readonly name: string
  readonly path: string
  readonly width?: number
  readonly scheme?: 'light' | 'dark'
  /** Before the picture is taken. */
  readonly act?: (page: Page) => Promise<unknown>
}

export async function takePictures(
  panel: Awaited<ReturnType<typeof openPage>>,
  folder: string,
  run: Run,
): Promise<void> {
  await mkdir(folder, { recursive: true })
  const first = async (...filters: string[]) =>
    JSON.parse(await run(['auditoria', '--json', '--limite', '1', ...filters]))[0]?.mensaje_id as string | undefined
  // Once the troubles are there to be seen.
  const failed = await until(() => first('--listener', 'mapuche', '--estado', 'fallida'), {
    timeout: 30_000,
    what: 'una fallida',
  })
  const waiting = await until(() => first('--listener', 'compras', '--estado', 'reintentando'), {
    timeout: 30_000,
    what: 'una que espera',
  })
  const pictures: readonly Picture[] = [
    { name: 'inicio', path: '' },
    { name: 'inicio-oscuro', path: '', scheme: 'dark' },
    { name: 'inicio-telefono', path: '', width: 360 },
    { name: 'mensajes', path: `mensajes?q=${encodeURIComponent('listener:mapuche estado:fallida')}` },
    { name: 'mensajes-telefono', path: 'mensajes', width: 360 },
    { name: 'mensaje', path: `mensajes/${failed}`, act: (page) => page.locator('.pedido').first().click() },
    { name: 'mensaje-espera', path: `mensajes/${waiting}` },
    { name: 'listener', path: 'listeners/compras' },
    { name: 'listeners', path: 'listeners' },
    { name: 'acciones', path: 'acciones' },
    {
      name: 'reenviar',
      path: `mensajes?q=${encodeURIComponent('mapuche fallidas')}`,
      act: (page) => page.locator('[data-accion=reenviar]').first().click(),
    },
  ]
  const browser = await openBrowser()
  try {
    const context = await browser.newContext({ timezoneId: 'America/Argentina/Buenos_Aires', locale: 'es-AR' })
    const page = await context.newPage()
    await page.goto(panel.key())
    await page.locator('.arriba').waitFor()
    for (const { name, path, width = 1280, scheme = 'light', act } of pictures) {
      await page.setViewportSize({ width, height: width < 500 ? 740 : 800 })
      await page.emulateMedia({ colorScheme: scheme })
      await page.goto(panel.url + path)
      await page.locator('main [data-fila]').first().waitFor()
      await act?.(page)
      await page.waitForLoadState('networkidle', { timeout: 2_000 }).catch(() => {})
      await page.screenshot({ path: `${folder}/${name}.png` })
    }
  } finally {
    await browser.close()
  }
}

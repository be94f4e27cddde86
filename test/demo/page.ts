/**
 * `npm run demo -- --panel`: the same project a while later, with twenty systems of which some are in trouble, and the page open on
 * it. `npm run capturas` takes the pictures of the manual from it.
 */
import { writeFile } from 'node:fs/promises'
import { BIN, type CliOptions, spawnProgram, type Worker } from '../support/cli.ts'
import { type IniSections, iniText } from '../support/config-files.ts'
import { type Reply, startListener } from '../support/listener.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'
import { BODIES } from './messages.ts'

export type Run = (args: readonly string[], input?: string) => Promise<string>

interface System {
  readonly eventos: string
  readonly says: Reply
  readonly settings?: Record<string, string | number>
}

const fine = (delay: number): Reply => ({ status: 200, body: '{"ok":true}', delay })

/** What each answers. */
const SYSTEMS: Readonly<Record<string, System>> = {
  analitica: { eventos: '*', says: fine(4) },
  arai: { eventos: 'expediente.*', says: fine(12) },
  archivo: { eventos: '*', says: fine(25) },
  biblioteca: { eventos: 'expediente.*', says: fine(8) },
  contable: {
    eventos: 'compra.*',
    says: { status: 503, body: 'Mantenimiento' },
    settings: { orden: 'estricto', corte_porcentaje: 0 },
  },
  correo: { eventos: 'pago.*', says: fine(60) },
  despacho: { eventos: 'expediente.*', says: fine(18) },
  diaguita: { eventos: 'proveedor.*', says: fine(9) },
  guarani: { eventos: 'legajo.*', says: fine(31) },
  huarpe: { eventos: 'legajo.*', says: fine(14) },
  kolla: {
    eventos: 'pago.*',
    says: {
      status: 401,
      body: '{"error":"usuario o clave incorrectos"}',
      headers: { 'content-type': 'application/json' },
    },
  },
  mapuche: {
    eventos: 'legajo.*',
    says: {
      status: 422,
      body: '{"mensaje":"legajo inexistente","legajo":90210}',
      headers: { 'content-type': 'application/json' },
    },
  },
  'registro-de-bienes-patrimoniales-y-donaciones': { eventos: 'compra.*', says: fine(40) },
  rectorado: {
    eventos: 'expediente.*',
    says: { status: 503, headers: { 'retry-after': '120' }, body: 'Servicio no disponible' },
  },
  tesoreria: { eventos: 'pago.*', says: fine(22), settings: { limite: '30/m' } },
  wichi: { eventos: '*', says: fine(6) },
}

/** Twenty listeners in all, with the three of the demo and one that nobody attends. @returns the sections of resthooks.ini */
export async function troubledSystem(
  sections: IniSections,
  ini: string,
  run: Run,
  worker: Worker,
): Promise<() => Promise<void>> {
  const servers = await Promise.all(Object.values(SYSTEMS).map(({ says }) => startListener(() => says)))
  for (const [n, [name, { eventos, settings }]] of Object.entries(SYSTEMS).entries())
    sections[`listener ${name}`] = { url: servers[n]!.url, eventos, ...settings }
  sections['listener compras'] = { url: `http://127.0.0.1:${await freePort()}/hooks`, eventos: 'compra.*' }
  sections.reintentos = { estrategia: 'lista', esperas: '1s, 2m, 30m', jitter: '20%' }
  await writeFile(ini, iniText(sections))
  await worker.logged('se recarga')
  await run(['pausar', 'biblioteca'])
  const lines = Array.from({ length: 260 }, (_, n) => {
    const { evento, datos } = BODIES[n % BODIES.length]!(n)
    return JSON.stringify({ evento, datos })
  })
  await run(['send', '--lote'], lines.join('\n'))
  return async () => {
    await Promise.all(servers.map((server) => server.close()))
  }
}

/** The page, as `resthooks panel` shows it. */
export async function openPage(
  options: CliOptions,
): Promise<{ url: string; key: () => string; stop: () => Promise<void> }> {
  const program = spawnProgram(
    process.execPath,
    [BIN, 'panel', '--direccion', `127.0.0.1:${await freePort()}`],
    options,
  )
  const url = await until(() => /Página en (\S+)/.exec(program.output)?.[1], { timeout: 20_000, what: 'la página' })
  return {
    url,
    key: () => [...program.output.matchAll(/(\S+#llave=\S+)/g)].at(-1)![1]!,
    stop: async () => {
      program.kill('SIGTERM')
      await program.waitExit()
    },
  }
}

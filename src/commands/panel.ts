/** `panel`: the web page. */
import { createInterface } from 'node:readline'
import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { openTerminal } from './terminal.ts'

interface Options {
  readonly direccion?: string
  readonly prefijo?: string
  readonly clave?: boolean
  readonly cerrarSesiones?: string | true
}

export function panel(program: Command, context: Context): void {
  program
    .command('panel')
    .description('la página web: busca y muestra mensajes, dice qué pide atención, reenvía, pausa y prueba')
    .option('--direccion <servidor:puerto>', 'dónde atiende (en lugar de [panel] direccion: 127.0.0.1:8580)')
    .option('--prefijo <ruta>', 'la ruta con que la publica un proxy (en lugar de [panel] prefijo)')
    .option('--clave', 'pide una clave y muestra lo que va en «clave» de un [usuario NOMBRE]; no inicia la página')
    .option('--cerrar-sesiones [usuario]', 'termina las sesiones de un usuario, o todas; no inicia la página')
    .action(async (options: Options) => {
      if (options.clave) return makePassword()
      if (options.cerrarSesiones !== undefined) return endSessions(context, options.cerrarSesiones)
      await run(context, options)
    })
}

/** Until a signal. */
async function run(context: Context, options: Options): Promise<void> {
  const [{ openPanel }, { loadConfig }, { PANEL }] = await Promise.all([
    import('../panel/server.ts'),
    import('../config/load.ts'),
    import('../config/settings.ts'),
  ])
  const over = {
    ...(options.direccion === undefined
      ? {}
      : { address: value(PANEL.direccion.kind, '--direccion', options.direccion) }),
    ...(options.prefijo === undefined ? {} : { prefix: value(PANEL.prefijo.kind, '--prefijo', options.prefijo) }),
  }
  const load = () => {
    const config = loadConfig(context.options)
    print.withhold(config.secrets)
    return { ...config, panel: { ...config.panel, ...over } }
  }
  const config = await context.config()
  const page = await openPanel({
    config: { ...config, panel: { ...config.panel, ...over } },
    files: context.options,
    load,
    note: print.note,
    version: __VERSION__,
  })
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const each of ['SIGINT', 'SIGTERM'] as const) process.once(each, resolve)
  })
  await page.close()
  process.exitCode = signal === 'SIGINT' ? 130 : 0
}

interface Readable<T> {
  readonly accepted: string
  read(texts: readonly string[]): { readonly ok: true; readonly value: T } | { readonly ok: false }
}

function value<T>(kind: Readable<T>, option: string, text: string): T {
  const read = kind.read([text])
  if (!read.ok) throw new UsageError(`${option}: «${text}» no sirve; se acepta ${kind.accepted}.`)
  return read.value
}

async function makePassword(): Promise<void> {
  const { passwordEntry, SHORTEST_PASSWORD } = await import('../panel/passwords.ts')
  const terminal = openTerminal()
  if (terminal === null && process.stdin.isTTY) throw new UsageError('aquí no se puede pedir la clave sin mostrarla')
  try {
    const password = terminal === null ? await firstLine() : await terminal.hidden('Clave')
    if (password.length < SHORTEST_PASSWORD)
      throw new UsageError(`la clave debe tener ${SHORTEST_PASSWORD} letras o más.`)
    if (terminal !== null && (await terminal.hidden('Otra vez')) !== password)
      throw new UsageError('las dos no son iguales.')
    print.note('En resthooks.ini, en la sección [usuario NOMBRE]:')
    print.line(`clave = ${await passwordEntry(password)}`)
  } finally {
    terminal?.close()
  }
}

/** Of stdin. */
async function firstLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line
  return ''
}

async function endSessions(context: Context, user: string | true): Promise<void> {
  await context.configToLook()
  const { endSessions } = await import('../queue/sessions.ts')
  const ended = await endSessions(await context.queue(), user === true ? null : user)
  print.line(`Sesiones terminadas: ${ended}`)
}

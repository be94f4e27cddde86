/** `verificar`: the doctor. Everything that can be checked without sending a message, and what to do about what is wrong. */
import type { Command } from 'commander'
import type { SettingRow } from '../checks/configuration.ts'
import { type GroupedFinding, group } from '../checks/finding.ts'
import { ConfigError, ResthooksError } from '../errors.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly supervisord?: string
  readonly todo?: boolean
  readonly configuracion?: boolean
  readonly json?: boolean
}

export function verificar(program: Command, context: Context): void {
  program
    .command('verificar')
    .description(
      'comprueba archivos, permisos, Redis, Postgres, cada listener (DNS, TCP, TLS, certificado), la cola, supervisord y systemd, y ' +
        'dice qué hacer con lo que esté mal',
    )
    .option('--supervisord <archivo>', 'configuración de supervisord (si no: los lugares de siempre)')
    .option('--configuracion', 'los archivos y nada más: ni Redis, ni Postgres, ni la red')
    .option('--todo', 'muestra también cada comprobación que está bien, y cada ajuste con su origen')
    .option('--json', 'un documento JSON')
    .addHelpText(
      'after',
      '\nTermina con 0 si no hay errores (los avisos no cuentan), 1 si los hay, 3 si la configuración está mal y 4 si ' +
        'Redis o Postgres no responden.',
    )
    .action(async (options: Options) => {
      const { findings, settings, troubles } = await diagnose(context, options)
      if (options.json) print.json({ ...summary(findings), verificaciones: findings, ajustes: settings })
      else await show(findings, settings, options.todo === true)
      const { errores } = summary(findings)
      if (errores === 0) return
      // What each is stands in the list.
      const [worst] = [...troubles].sort((a, b) => severity(a) - severity(b))
      throw new ResthooksError(worst?.code ?? 'FALLO', `Hay ${print.count(errores, 'error', 'errores')}.`)
    })
}

interface Result {
  readonly findings: readonly GroupedFinding[]
  readonly settings: readonly SettingRow[]
  readonly troubles: readonly ResthooksError[]
}

async function diagnose(context: Context, { supervisord, configuracion }: Options): Promise<Result> {
  const [{ diagnoseAll }, { checkConfiguration, settingRows }] = await Promise.all([
    import('../checks/doctor.ts'),
    import('../checks/configuration.ts'),
  ])
  let read: Awaited<ReturnType<Context['configAsItIs']>>
  try {
    read = await context.configAsItIs()
  } catch (trouble) {
    if (!(trouble instanceof ConfigError)) throw trouble
    return { findings: await brokenConfiguration(context, trouble), settings: [], troubles: [trouble] }
  }
  const { config, broken, isWell } = read
  const files = broken ? await brokenConfiguration(context, broken) : group('configuración', checkConfiguration(config))
  const settings = broken ? [] : settingRows(config)
  const told = broken ? [broken] : []
  if (configuracion) {
    if (supervisord !== undefined) {
      const { checkSupervisord } = await import('../checks/supervisord.ts')
      files.push(...group('supervisord', checkSupervisord(config, supervisord)))
    }
    return { findings: files, settings, troubles: told }
  }
  const { findings, troubles } = await diagnoseAll({
    config,
    listeners: [...config.listeners.values()].filter(({ name }) => isWell(`listener ${name}`)),
    queue: () => context.queue(),
    audit: () => context.audit(),
    explain: (error) => context.explain(error),
    version: __VERSION__,
    supervisord,
  })
  return { findings: [...files, ...findings], settings, troubles: [...told, ...troubles] }
}

/** Where the files were looked for, and all that is wrong with them. */
async function brokenConfiguration(context: Context, trouble: ConfigError): Promise<GroupedFinding[]> {
  const { searchPlaces } = await import('../config/load.ts')
  const { ini, env } = searchPlaces(context.options)
  const about = { grupo: 'configuración', que_hacer: null } as const
  return [
    { ...about, verificacion: 'resthooks.ini', resultado: 'ok', detalle: `se busca en: ${ini.join(', ')}` },
    { ...about, verificacion: 'instalador.env', resultado: 'ok', detalle: `se busca en: ${env.join(', ')}` },
    ...trouble.problems.map((problem) => ({
      ...about,
      verificacion: 'archivos',
      resultado: 'error' as const,
      detalle: problem,
      que_hacer: null,
    })),
  ]
}

/** A wrong configuration comes before a server that is away: waiting does not help it. */
function severity(trouble: ResthooksError): number {
  return trouble.code === 'CONFIGURACION' ? 0 : trouble.code === 'NO_DISPONIBLE' ? 1 : 2
}

function summary(findings: readonly GroupedFinding[]) {
  const count = (which: GroupedFinding['resultado']) => findings.filter(({ resultado }) => resultado === which).length
  return { errores: count('error'), avisos: count('aviso'), correctas: count('ok') }
}

const LABELS: Readonly<Record<GroupedFinding['resultado'], string>> = { ok: 'ok   ', aviso: 'AVISO', error: 'ERROR' }

async function show(findings: readonly GroupedFinding[], settings: readonly SettingRow[], all: boolean): Promise<void> {
  if (all && settings.length > 0) {
    await print.table(settings, ['ajuste', 'valor', 'origen'], { whole: ['ajuste'] })
    print.line()
  }
  const { default: colors } = await import('picocolors')
  const paint = print.isInteractive()
    ? { ok: colors.green, aviso: colors.yellow, error: colors.red }
    : { ok: String, aviso: String, error: String }
  const tell = ({ grupo, verificacion, resultado, detalle, que_hacer }: GroupedFinding) => {
    const [first = '', ...more] = folded(`${grupo}, ${verificacion}: ${detalle}`, 7)
    print.line(first, `${paint[resultado](LABELS[resultado])}  `)
    for (const line of more) print.line(`       ${line}`)
    if (que_hacer === null) return
    for (const [at, line] of folded(que_hacer, 9).entries()) print.line(`       ${at === 0 ? '→' : ' '} ${line}`)
  }
  // What is wrong first: the rest of a large installation fills screens.
  for (const resultado of ['error', 'aviso'] as const) {
    for (const finding of findings) if (finding.resultado === resultado) tell(finding)
  }
  const fine = findings.filter(({ resultado }) => resultado === 'ok')
  if (all) fine.forEach(tell)
  else if (fine.length > 0) {
    const names = new Set(fine.map(({ grupo }) => grupo))
    const groups = [...names].map((name) => `${name} (${fine.filter(({ grupo }) => grupo === name).length})`)
    const [first = '', ...more] = folded(`${groups.join(', ')}. Una por una: --todo`, 7)
    print.line(first, `${paint.ok(LABELS.ok)}  `)
    for (const line of more) print.line(`       ${line}`)
  }
  const { errores, avisos } = summary(findings)
  print.line()
  print.line(`${print.count(errores, 'error', 'errores')}, ${print.count(avisos, 'aviso', 'avisos')}.`)
}

/** Lines for a screen; for a file or the next program one, as long as it is. */
function folded(text: string, indent: number): string[] {
  const isScreen = process.stdout.isTTY || process.env.COLUMNS
  return isScreen ? print.wrap(print.oneLine(text), print.width() - indent) : [text]
}

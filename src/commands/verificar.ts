/** `verificar`: the doctor. Everything that can be checked without sending a message, and what to do about what is wrong. */
import type { Command } from 'commander'
import type { Finding } from '../checks/finding.ts'
import type { SettingRow } from '../checks/settings.ts'
import { ConfigError, OperationFailed, type ResthooksError } from '../errors.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly supervisord?: string
  readonly todo?: boolean
  readonly json?: boolean
}

export function verificar(program: Command, context: Context): void {
  program
    .command('verificar')
    .description(
      'comprueba archivos, permisos, Redis, Postgres, cada listener (DNS, TCP, TLS, certificado), la cola y supervisord, y ' +
        'dice qué hacer con lo que esté mal',
    )
    .option('--supervisord <archivo>', 'configuración de supervisord (si no: los lugares de siempre)')
    .option('--todo', 'muestra también los ajustes que tienen su valor por omisión')
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
      const [worst] = [...troubles].sort((a, b) => severity(a) - severity(b))
      if (worst) throw worst
      const { errores } = summary(findings)
      if (errores > 0) throw new OperationFailed(errores === 1 ? 'Hay un error.' : `Hay ${errores} errores.`)
    })
}

interface Result {
  readonly findings: readonly Finding[]
  readonly settings: readonly SettingRow[]
  readonly troubles: readonly ResthooksError[]
}

async function diagnose(context: Context, { supervisord }: Options): Promise<Result> {
  const [{ diagnoseAll }, { settingRows }] = await Promise.all([
    import('../checks/doctor.ts'),
    import('../checks/settings.ts'),
  ])
  let config: Awaited<ReturnType<Context['config']>>
  try {
    config = await context.config()
  } catch (trouble) {
    if (!(trouble instanceof ConfigError)) throw trouble
    return { findings: await brokenConfiguration(context, trouble), settings: [], troubles: [trouble] }
  }
  const { findings, troubles } = await diagnoseAll({
    config,
    queue: () => context.queue(),
    audit: () => context.audit(),
    version: __VERSION__,
    supervisord,
  })
  return { findings, settings: settingRows(config), troubles }
}

/** Where the files were looked for, and all that is wrong with them; nothing else can be checked. */
async function brokenConfiguration(context: Context, trouble: ConfigError): Promise<Finding[]> {
  const { searchPlaces } = await import('../config/load.ts')
  const { ini, env } = searchPlaces(context.options)
  const about = { grupo: 'configuración', que_hacer: null } as const
  return [
    { ...about, verificacion: 'resthooks.ini', resultado: 'ok', detalle: `se busca en: ${ini.join(', ')}` },
    { ...about, verificacion: 'instalador.env', resultado: 'ok', detalle: `se busca en: ${env.join(', ')}` },
    {
      ...about,
      verificacion: 'archivos',
      resultado: 'error',
      detalle: trouble.message,
      que_hacer: 'corrija los archivos y repita',
    },
  ]
}

/** A wrong configuration comes before a server that is away: waiting does not help it. */
function severity(trouble: ResthooksError): number {
  return trouble.code === 'CONFIGURACION' ? 0 : trouble.code === 'NO_DISPONIBLE' ? 1 : 2
}

function summary(findings: readonly Finding[]) {
  const count = (which: Finding['resultado']) => findings.filter(({ resultado }) => resultado === which).length
  return { errores: count('error'), avisos: count('aviso'), correctas: count('ok') }
}

const LABELS: Readonly<Record<Finding['resultado'], string>> = { ok: 'ok   ', aviso: 'AVISO', error: 'ERROR' }

async function show(findings: readonly Finding[], settings: readonly SettingRow[], all: boolean): Promise<void> {
  const { default: colors } = await import('picocolors')
  const paint = print.isInteractive()
    ? { ok: colors.green, aviso: colors.yellow, error: colors.red }
    : { ok: String, aviso: String, error: String }
  const shown = settings.filter(({ origen }) => all || origen !== 'por omisión')
  if (shown.length > 0) {
    await print.table(shown as unknown as Record<string, unknown>[], ['ajuste', 'valor', 'origen'])
  }
  let grupo = ''
  for (const finding of findings) {
    if (finding.grupo !== grupo) {
      grupo = finding.grupo
      print.line()
      print.line(grupo)
    }
    const label = paint[finding.resultado](LABELS[finding.resultado])
    // Only the configuration's own errors have lines of their own.
    const detalle = grupo === 'configuración' ? finding.detalle : print.oneLine(finding.detalle)
    print.line(`${finding.verificacion}: ${detalle}`, `  ${label}  `)
    if (finding.que_hacer !== null) print.line(`         → ${finding.que_hacer}`)
  }
  const { errores, avisos } = summary(findings)
  print.line()
  print.line(`${errores} errores, ${avisos} avisos.`)
}

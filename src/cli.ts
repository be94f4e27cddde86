/**
 * The command line: words in, exit code out. What a command does is in `commands/`.
 */
import { existsSync, readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { Context, type Definition, type Failure, type GlobalOptions } from './commands/context.ts'
import { examplesText } from './commands/examples.ts'
import { line, note } from './commands/print.ts'
import { explainUsage, speakSpanish } from './commands/spanish.ts'
import { EXIT_CODES, systemReason, UsageError } from './errors.ts'

const VALUE_OPTIONS = new Set(['-i', '--instancia', '-p', '--proyecto', '--config', '--env', '--instalacion'])

/** toba's own spelling: `proyecto crear_base_resthooks`. */
const TOBA_COMMANDS: Readonly<Record<string, string>> = {
  crear_base_resthooks: 'crear-base',
  crear_base: 'crear-base',
  iniciar_workers: 'iniciar-workers',
}

/** Of a monitoring plugin: it could not be found out. */
const UNKNOWN = 3

/** Loads a command when it is the one that runs. */
export type Commands = Readonly<Record<string, () => Promise<Definition>>>

/** Runs one command line and sets the process's exit code. */
export async function main(given: readonly string[], commands: Commands): Promise<void> {
  const context = new Context()
  const program = speakSpanish(new Command('resthooks'))
    .description('Mensajes REST entre sistemas SIU: cola en Redis, entrega con reintentos, auditoría en Postgres')
    .version(__COMMIT__ === '' ? __VERSION__ : `${__VERSION__} (${__COMMIT__})`, '-V, --version', 'muestra la versión')
    .exitOverride()
  try {
    if (given.some((word) => word.includes('\uFFFD'))) refuseBrokenBytes(given)
    leaveLostFolder()
    const words = esperarWithItsTime(tobaSpelling(given))
    withGlobalOptions(program)
    program.hook('preAction', (_program, action) => context.setOptions(action.optsWithGlobals<GlobalOptions>()))
    const named = words[positionOfCommand(words)]
    // The help of all of them, and what is made of it, needs all of them.
    const only = named !== undefined && named !== 'ayuda' && Object.hasOwn(commands, named) ? named : undefined
    for (const [name, load] of Object.entries(commands)) {
      if (only !== undefined && only !== name) continue
      const before = program.commands.length
      ;(await load())(program, context)
      for (const command of program.commands.slice(before)) {
        withGlobalOptions(speakSpanish(command).exitOverride())
        command.addHelpText('after', () => examplesText(command.name()))
      }
    }
    if (words.length === 0) program.help({ error: true })
    await program.parseAsync(words, { from: 'user' })
  } catch (error) {
    process.exitCode = await report(error, program, context)
    // A monitor takes 2 for «critical», and what it is asked wrongly is not known.
    if (process.exitCode === EXIT_CODES.USO && given.includes('estado') && given.includes('--comprobar')) {
      line('RESTHOOKS UNKNOWN - la orden está mal escrita')
      process.exitCode = UNKNOWN
    }
  } finally {
    await context.close()
  }
}

/** These are taken before and after the command's name, as toba users type them after it. */
function withGlobalOptions(command: Command): void {
  command
    .option('-i, --instancia <nombre>', 'instancia de toba (si no: $TOBA_INSTANCIA, o «produccion»)')
    .option('-p, --proyecto <nombre>', 'proyecto (si no: $TOBA_PROYECTO, o «resthooks»)')
    .option('--config <archivo>', 'resthooks.ini')
    .option('--env <archivo>', 'instalador.env')
    .option('--instalacion <carpeta>', 'carpeta de instalación de toba (si no: $TOBA_INSTALACION_DIR)')
}

/** `resthooks proyecto crear_base_resthooks …` is `resthooks crear-base …`. */
function tobaSpelling(given: readonly string[]): string[] {
  const words = [...given]
  const at = positionOfCommand(words)
  const command = words[at] === 'proyecto' ? TOBA_COMMANDS[words[at + 1] ?? ''] : TOBA_COMMANDS[words[at] ?? '']
  if (command) words.splice(at, words[at] === 'proyecto' ? 2 : 1, command)
  // A command that is none is looked for among ours: `iniciar_worker` is what does not exist.
  else if (words[at] === 'proyecto' && words[at + 1]?.startsWith('-') === false) words.splice(at, 1)
  return words
}

/** `--esperar 20s` is `--esperar=20s`; where no time follows (`--esperar x '{}'`), the default. */
function esperarWithItsTime(words: readonly string[]): readonly string[] {
  const at = words.indexOf('--esperar')
  const end = words.indexOf('--')
  if (at < 0 || (end >= 0 && end < at)) return words
  const next = words[at + 1] ?? ''
  const hasTime = /^\d+(?:[.,]\d+)?\s*[a-z]*$/i.test(next)
  return words.toSpliced(at, hasTime ? 2 : 1, `--esperar=${hasTime ? next : '30s'}`)
}

/**
 * Node decodes the arguments itself, and puts U+FFFD for bytes that are no UTF-8: a message would go out changed. Only the bytes
 * tell it from one that was typed; where the system does not show them, it is refused.
 */
function refuseBrokenBytes(given: readonly string[]): void {
  const shown = existsSync('/proc/self/cmdline')
    ? readFileSync('/proc/self/cmdline', 'latin1').split('\0').slice(0, -1)
    : null
  const bytes = shown?.slice(-given.length).map((word) => Buffer.from(word, 'latin1'))
  const broken = given.findIndex((word, n) => {
    const raw = bytes?.[n]
    return word.includes('\uFFFD') && !(raw?.toString('utf8') === word && raw.equals(Buffer.from(word)))
  })
  if (broken < 0) return
  throw new UsageError(
    `el argumento ${broken + 1} («${shorten(given[broken]!)}») no está en UTF-8 (¿ISO-8859-1?) y llegaría cambiado. ` +
      'Conviértalo (iconv -f ISO-8859-1 -t UTF-8); o, para enviar los bytes como están, déselos a «send» en un archivo (@archivo) o ' +
      'por la entrada estándar (-), con --tipo-contenido',
  )
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

/** In a folder that was deleted under the shell nothing relative can be found, and Node itself fails at the question where it is. */
function leaveLostFolder(): void {
  try {
    process.cwd()
  } catch {
    // One of the same name may have taken its place, as when a new version is deployed.
    const folder = [process.env.PWD ?? '', '/'].find((each) => each.startsWith('/') && canEnter(each))
    note(`resthooks: la carpeta en la que está ya no existe: lo que se busca a partir de ella se busca en ${folder}`)
  }
}

function canEnter(folder: string): boolean {
  try {
    process.chdir(folder)
    return true
  } catch {
    return false
  }
}

/** The first word that is neither an option nor the value of a global one. */
export function positionOfCommand(words: readonly string[]): number {
  for (let i = 0; i < words.length; i++) {
    if (VALUE_OPTIONS.has(words[i]!)) i += 1
    else if (!words[i]!.startsWith('-')) return i
  }
  return words.length
}

/** The one door by which a failure leaves: a sentence, on stderr unless the command has a log, and the exit code. */
async function report(error: unknown, program: Command, context: Context): Promise<number> {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    const why = explainUsage(error, program).trimEnd()
    if (why !== '') note(why)
    return EXIT_CODES.USO
  }
  const failure = await failureOf(error, context)
  const { text, bug, exitCode } = failure
  if (context.tellFailure) await context.tellFailure(failure)
  else {
    note(`resthooks: ${text}${bug === undefined ? '' : `:\n${(bug as Error).stack ?? bug}`}`)
    const hint = exitCode === EXIT_CODES.NO_DISPONIBLE ? await context.missingConfiguration() : null
    if (hint !== null) note(hint)
  }
  return exitCode
}

async function failureOf(error: unknown, context: Context): Promise<Failure> {
  const explained = await context.explain(error)
  if (explained !== null) return { exitCode: explained.exitCode, text: explained.message }
  const exitCode = EXIT_CODES.FALLO
  const reason = systemReason(error)
  if (reason === null) return { exitCode, text: 'error interno, por favor infórmelo', bug: error }
  const { path } = error as NodeJS.ErrnoException
  return { exitCode, text: `${path === undefined ? '' : `${path}: `}${reason}` }
}

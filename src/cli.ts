/**
 * The command line: words in, exit code out. What a command does is in `commands/`.
 */
import { Command, CommanderError } from 'commander'
import type { Definition } from './commands/command.ts'
import { Context, type GlobalOptions } from './commands/context.ts'
import { explainUsage, speakSpanish } from './commands/spanish.ts'
import { EXIT_CODES, ResthooksError } from './errors.ts'

const VALUE_OPTIONS = new Set(['-i', '--instancia', '-p', '--proyecto', '--config', '--env', '--instalacion'])

/** toba's own spelling: `proyecto crear_base_resthooks`. */
const TOBA_COMMANDS: Readonly<Record<string, string>> = {
  crear_base_resthooks: 'crear-base',
  crear_base: 'crear-base',
  iniciar_workers: 'iniciar-workers',
}

/** Loads a command when it is the one that runs. */
export type Commands = Readonly<Record<string, () => Promise<Definition>>>

/** Runs one command line and sets the process's exit code. */
export async function main(given: readonly string[], commands: Commands): Promise<void> {
  const words = tobaSpelling(given)
  const context = new Context()
  const program = speakSpanish(new Command('resthooks'))
    .description('Mensajes REST entre sistemas SIU: cola en Redis, entrega con reintentos, auditoría en Postgres')
    .version(__VERSION__, '-V, --version', 'muestra la versión')
    .exitOverride()
  withGlobalOptions(program)
  program.hook('preAction', (_program, action) => context.setOptions(action.optsWithGlobals<GlobalOptions>()))

  const named = words[positionOfCommand(words)]
  const only = named !== undefined && Object.hasOwn(commands, named) ? named : undefined
  for (const [name, load] of Object.entries(commands)) {
    if (only !== undefined && only !== name) continue
    const before = program.commands.length
    ;(await load())(program, context)
    for (const command of program.commands.slice(before)) withGlobalOptions(speakSpanish(command).exitOverride())
  }

  try {
    if (words.length === 0) program.help({ error: true })
    await program.parseAsync(words, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error, program)
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

/** `resthooks proyecto crear_base_resthooks …` is `resthooks crear-base …`; a bare `--esperar` takes its default. */
function tobaSpelling(given: readonly string[]): string[] {
  const words = given.map((word) => (word === '--esperar' ? '--esperar=30s' : word))
  const at = positionOfCommand(words)
  const command = words[at] === 'proyecto' ? TOBA_COMMANDS[words[at + 1] ?? ''] : TOBA_COMMANDS[words[at] ?? '']
  if (command) words.splice(at, words[at] === 'proyecto' ? 2 : 1, command)
  return words
}

/** The first word that is neither an option nor the value of a global one. */
export function positionOfCommand(words: readonly string[]): number {
  for (let i = 0; i < words.length; i++) {
    if (VALUE_OPTIONS.has(words[i]!)) i += 1
    else if (!words[i]!.startsWith('-')) return i
  }
  return words.length
}

function report(error: unknown, program: Command): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    process.stderr.write(explainUsage(error, program))
    return EXIT_CODES.USO
  }
  if (error instanceof ResthooksError) {
    process.stderr.write(`resthooks: ${error.message}\n`)
    return error.exitCode
  }
  process.stderr.write(`resthooks: error interno, por favor infórmelo:\n${(error as Error).stack ?? error}\n`)
  return EXIT_CODES.FALLO
}

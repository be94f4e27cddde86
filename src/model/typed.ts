/**
 * Commands of ours as a person types them, wherever one is shown as what helps: with the options by which this process was told of
 * its project, because the next command would go to another one without them.
 *
 * On its own because all layers say such commands, and none but the command line knows its options. `withhold` of
 * `commands/print.ts` is the same for secrets.
 */
import { shellWord } from './words.ts'

/** What `-i` and `-p` are where neither the option nor the environment says it. */
export const [DEFAULT_INSTANCE, DEFAULT_PROJECT] = ['produccion', 'resthooks']

/** The global options of a command line. */
interface Given {
  readonly instancia?: string | undefined
  readonly proyecto?: string | undefined
  readonly config?: string | undefined
  readonly env?: string | undefined
  readonly instalacion?: string | undefined
}

let kept: Given = {}
let options = ''

/** What this process was told: for its threads, which say such commands too. */
export function keptInHints(): Given {
  return kept
}

/** From now on the commands have these; '' and what they would take without them are left out. */
export function keepInHints(given: Given, environment: NodeJS.ProcessEnv = process.env): void {
  const { instancia, proyecto, config, env, instalacion } = given
  kept = { instancia, proyecto, config, env, instalacion }
  const table: readonly [name: string, value: string | undefined, otherwise: string | undefined][] = [
    ['-i', instancia, environment.TOBA_INSTANCIA || DEFAULT_INSTANCE],
    ['-p', proyecto, environment.TOBA_PROYECTO || DEFAULT_PROJECT],
    ['--config', config, environment.RESTHOOKS_INI],
    ['--env', env, environment.RESTHOOKS_ENV],
    ['--instalacion', instalacion, environment.TOBA_INSTALACION_DIR],
  ]
  const words = table.flatMap(([name, value, otherwise]) => (!value || value === otherwise ? [] : [name, value]))
  options = words.map((word) => ` ${shellWord(word)}`).join('')
}

/** `ver ID` is `ver -p pilaga ID`: behind the name, since what stands behind the rest may be the rest of a sentence. */
export function aimed(command: string): string {
  return options === '' ? command : command.replace(/^[a-z-]+/, (name) => `${name}${options}`)
}

/** The same, whole: `resthooks ver -p pilaga ID`. */
export function typed(command: string): string {
  return `resthooks ${aimed(command)}`
}

/**
 * What may follow on a command line, for the shells: commands, options, and of their values those that the files tell (listeners,
 * events, instances, projects). Pure, and apart from `completar`: it starts on its own (`main-complete.ts`), for each press of a key.
 */
import type { CommandInfo, OptionInfo, ProgramInfo } from './manual.ts'

/** What the files tell. */
export interface Names {
  readonly listeners: readonly string[]
  /** As `eventos` says them, patterns too. */
  readonly events: readonly string[]
  readonly instances: readonly string[]
  readonly projects: readonly string[]
}

interface Candidate {
  readonly value: string
  readonly says: string
}

/** `files`, `folders`: the shell knows better. */
type Completion = readonly Candidate[] | 'files' | 'folders'

const STATES = ['pendiente', 'reintentando', 'exitosa', 'fallida', 'descartada']

/**
 * @param words after the program's name, up to the cursor; the last one is being typed
 * @param names asked for where they are wanted alone
 */
export function complete(
  words: readonly string[],
  { generales, comandos }: ProgramInfo,
  names: () => Names,
): Completion {
  // bash takes `--listener=x` apart.
  const typed = words.filter((word, at) => word !== '=' || at === words.length - 1)
  if (typed.at(-1) === '=') typed[typed.length - 1] = ''
  const current = typed.at(-1) ?? ''
  const { command, position } = placeOf(typed.slice(0, -1), generales, comandos)
  const options = [...(command?.opciones ?? []), ...generales]
  const optionNamed = (name: string | undefined) =>
    options.find(({ nombres }) => name !== undefined && nombres.includes(name))

  const [, long, value] = /^(--[\w-]+)=(.*)$/s.exec(current) ?? []
  if (long !== undefined) {
    const found = valuesOf(optionNamed(long), value!, names, command)
    return typeof found === 'string' ? found : found.map((each) => ({ ...each, value: `${long}=${each.value}` }))
  }
  const before = optionNamed(typed.at(-2))
  if (before && before.valor !== null) return valuesOf(before, current, names, command)
  if (current.startsWith('-')) {
    const named = options.flatMap(({ nombres, descripcion }) =>
      nombres.slice(-1).map((name) => ({ value: name, says: descripcion })),
    )
    return beginning(named, current)
  }
  if (command === null) {
    return beginning(
      comandos.map(({ nombre, descripcion }) => ({ value: nombre, says: descripcion })),
      current,
    )
  }
  const argument = command.argumentos[position] ?? command.argumentos.findLast(({ varios }) => varios)
  if (!argument) return []
  if (argument.valor === 'comando')
    return beginning(
      comandos.map(({ nombre, descripcion }) => ({ value: nombre, says: descripcion })),
      current,
    )
  return valuesOf(argument, current, names, command)
}

/** The command, and how many arguments of its own stand before the cursor. */
function placeOf(before: readonly string[], general: readonly OptionInfo[], commands: readonly CommandInfo[]) {
  let command: CommandInfo | null = null
  let position = 0
  for (let at = 0; at < before.length; at++) {
    const word = before[at]!
    if (word.startsWith('-')) {
      const all: readonly OptionInfo[] = [...(command?.opciones ?? []), ...general]
      if (all.some(({ nombres, valor }) => valor !== null && nombres.includes(word))) at += 1
    } else if (command === null) command = commands.find(({ nombre }) => nombre === word) ?? null
    else position += 1
  }
  return { command, position }
}

type Valued = Pick<OptionInfo, 'valor' | 'opciones'> & { readonly nombres?: readonly string[] }

function valuesOf(of: Valued | undefined, typed: string, names: () => Names, command: CommandInfo | null): Completion {
  if (!of) return []
  const plain = (values: readonly string[], says: string) =>
    beginning(
      values.map((value) => ({ value, says })),
      typed,
    )
  if (of.opciones.length > 0) return plain(of.opciones, '')
  // Several at once, by commas: the last one is being typed.
  const [, done = '', last = ''] = /^(.*,)?(.*)$/s.exec(typed) ?? []
  const listed = (values: readonly string[], says: string) =>
    beginning(
      values.map((value) => ({ value: `${done}${value}`, says })),
      `${done}${last}`,
    )
  switch (kindOf(of)) {
    case 'listener':
      return plain(names().listeners, 'listener')
    case 'evento': {
      // What is sent is one event, what is looked for may be a pattern.
      const { events } = names()
      const isSent = command?.nombre === 'send' || command?.nombre === 'probar'
      return plain(isSent ? events.filter((event) => !event.includes('*')) : events, 'evento')
    }
    case 'estado':
      return listed(STATES, 'estado')
    case 'instancia':
      return plain(names().instances, 'instancia')
    case 'proyecto':
      return plain(names().projects, 'proyecto')
    case 'archivo':
      return 'files'
    case 'carpeta':
      return 'folders'
    default:
      return []
  }
}

/** By the option's own name where its value is called `nombre`. */
function kindOf({ valor, nombres = [] }: Valued): string {
  const name = nombres.at(-1)?.replace(/^--/, '')
  if (name !== undefined && ['listener', 'evento', 'estado', 'instancia', 'proyecto'].includes(name)) return name
  if (valor === 'listeners') return 'listener'
  return valor === 'patrón' ? 'evento' : (valor ?? '')
}

function beginning(all: readonly Candidate[], typed: string): Candidate[] {
  return all.filter(({ value }) => value.startsWith(typed))
}

/** commander in Spanish: its headings, its help option and its complaints. Apart from `cli.ts` since all it knows is that library's words. */
import type { Argument, Command, CommanderError, Help, Option } from 'commander'
import { note, stdout, width, wrap } from './print.ts'

const TITLES: Readonly<Record<string, string>> = {
  'Usage:': 'Uso:',
  'Options:': 'Opciones:',
  'Global Options:': 'Opciones generales:',
  'Commands:': 'Comandos:',
  'Arguments:': 'Argumentos:',
}

/** Translates what a command prints about itself; its errors are told by `explainUsage` alone. */
export function speakSpanish(command: Command): Command {
  return command
    .helpOption('-h, --help', 'muestra esta ayuda')
    .helpCommand(false)
    .configureHelp({
      styleTitle: (title) => TITLES[title] ?? title,
      commandUsage: (each) =>
        [
          ...ancestors(each),
          each.name(),
          each.usage().replace('[options]', '[opciones]').replace('[command]', '[comando]'),
        ].join(' '),
      subcommandTerm: (each) => [each.name(), each.usage().replace('[options]', '').trim()].filter(Boolean).join(' '),
      optionDescription: described,
      argumentDescription: described,
      formatItem,
    })
    .configureOutput({
      outputError: () => {},
      getOutHelpWidth: width,
      getErrHelpWidth: width,
      writeOut: (text) => void stdout().write(fitted(text, width())),
      writeErr: (text) => note(fitted(text, width()).trimEnd()),
    })
}

/** Beside its term; narrower, and it goes below. */
const LEAST_DESCRIPTION = 34

function formatItem(this: unknown, term: string, termWidth: number, description: string, helper: Help): string {
  const most = helper.helpWidth ?? 80
  if (description === '') return `  ${term}`
  const beside = most - termWidth - 4
  if (beside < LEAST_DESCRIPTION)
    return [`  ${term}`, ...wrap(description, most - 6).map((each) => `      ${each}`)].join('\n')
  const [first, ...rest] = wrap(description, beside)
  const indent = ' '.repeat(termWidth + 4)
  return [`  ${term.padEnd(termWidth)}  ${first}`, ...rest.map((each) => `${indent}${each}`)].join('\n')
}

/** What commander does not wrap itself: the texts after the options. Of a command line the break is one that the shell takes. */
function fitted(text: string, most: number): string {
  return text
    .split('\n')
    .flatMap((line) => {
      if (line.length <= most) return [line]
      const indent = /^ */.exec(line)![0]
      const isCommand = indent.length >= 4 && /resthooks /.test(line)
      const lines = wrap(line.trim(), most - indent.length - (isCommand ? 4 : 0))
      return lines.map(
        (each, n) =>
          `${indent}${isCommand && n > 0 ? '  ' : ''}${each}${isCommand && n < lines.length - 1 ? ' \\' : ''}`,
      )
    })
    .join('\n')
}

export function described(each: Option | Argument): string {
  const { description, argChoices, defaultValue, defaultValueDescription } = each
  const shown = defaultValue !== undefined && defaultValueDescription !== '' && !Array.isArray(defaultValue)
  const notes = [
    argChoices ? `uno de: ${argChoices.join(', ')}` : '',
    shown ? `por omisión: ${defaultValueDescription ?? String(defaultValue)}` : '',
  ].filter(Boolean)
  return notes.length > 0 ? `${description} (${notes.join('; ')})` : description
}

function ancestors(command: Command): string[] {
  const names: string[] = []
  for (let each = command.parent; each; each = each.parent) names.unshift(each.name())
  return names
}

/** What is wrong with the command line, and where the help is. */
export function explainUsage(error: CommanderError, program: Command): string {
  if (error.code === 'commander.help') return ''
  const [, quoted = ''] = /'([^']*)'/.exec(error.message) ?? []
  const suggestion = /Did you mean (?:one of )?(.*)\?/.exec(error.message)?.[1]
  const command = program.commands.find((each) => each.name() === program.args[0])
  const help = `Ayuda: resthooks${command ? ` ${command.name()}` : ''} --help\n`
  return `resthooks: ${problem(error, quoted, command)}${suggestion ? `; ¿quiso decir ${suggestion}?` : ''}\n${help}`
}

/** `: uno de: tabla, json` */
function choicesOf(flags: string, command: Command | undefined): string {
  const choices = command?.options.find((each) => each.flags === flags)?.argChoices
  return choices ? `: uno de: ${choices.join(', ')}` : ''
}

function problem(error: CommanderError, quoted: string, command: Command | undefined): string {
  switch (error.code) {
    case 'commander.unknownOption':
      return `la opción ${quoted} no existe`
    case 'commander.unknownCommand':
      return `el comando «${quoted}» no existe`
    case 'commander.missingArgument':
      return `falta el argumento ${quoted}`
    case 'commander.missingMandatoryOptionValue':
      return `falta la opción ${quoted}`
    case 'commander.optionMissingArgument':
      return `a la opción ${quoted} le falta su valor${choicesOf(quoted, command)}`
    case 'commander.excessArguments':
      return `sobran argumentos: ${error.message.replace(/^error: /, '').replace(/too many arguments.*Expected (\d+).*but got (\d+).*/i, 'se esperaban $1 y hay $2')}`
    case 'commander.invalidArgument':
      return error.message
        .replace(/^error: /, '')
        .replace(/^option '(.*?)' argument '(.*)' is invalid\. ?/s, 'el valor «$2» de la opción $1 no es válido: ')
        .replace(
          /^command-argument value '(.*)' is invalid for argument '(.*?)'\. ?/s,
          'el valor «$1» del argumento $2 no es válido: ',
        )
        .replace(/Allowed choices are (.*)\.$/, 'se espera uno de: $1')
    default:
      return error.message.replace(/^error: /, '')
  }
}

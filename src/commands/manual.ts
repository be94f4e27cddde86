/**
 * What the program says of itself, for others than a terminal: the same help as data, which completion uses, and as a page for `man`.
 * Both are made from the registered commands when the program is built.
 */
import type { Argument, Command, Option } from 'commander'
import { EXAMPLES } from './examples.ts'
import { described } from './spanish.ts'

interface ValueInfo {
  /** `listener`, `evento`, `archivo`…: what is written between the angles. */
  readonly valor: string | null
  readonly opciones: readonly string[]
}

export interface OptionInfo extends ValueInfo {
  readonly nombres: readonly string[]
  readonly descripcion: string
}

export interface CommandInfo {
  readonly nombre: string
  readonly descripcion: string
  readonly uso: string
  readonly argumentos: readonly (ValueInfo & { readonly varios: boolean; readonly descripcion: string })[]
  readonly opciones: readonly OptionInfo[]
}

export interface ProgramInfo {
  readonly descripcion: string
  readonly generales: readonly OptionInfo[]
  readonly comandos: readonly CommandInfo[]
}

/** @param program with every command loaded */
export function describeProgram(program: Command): ProgramInfo {
  const general = program.options.map(optionInfo)
  const names = new Set(general.flatMap(({ nombres }) => nombres))
  return {
    descripcion: program.description(),
    generales: general,
    comandos: program.commands.map((command) => ({
      nombre: command.name(),
      descripcion: command.description(),
      uso: command.usage().replace('[options]', '[opciones]'),
      argumentos: command.registeredArguments.map(argumentInfo),
      opciones: command.options.map(optionInfo).filter(({ nombres }) => !nombres.some((name) => names.has(name))),
    })),
  }
}

function optionInfo(option: Option): OptionInfo {
  return {
    nombres: [option.short, option.long].filter((name) => name != null),
    valor: /[<[]"?([^>\]"]+)/.exec(option.flags)?.[1] ?? null,
    opciones: option.argChoices ?? [],
    descripcion: described(option),
  }
}

function argumentInfo(argument: Argument) {
  return {
    valor: argument.name(),
    opciones: argument.argChoices ?? [],
    varios: argument.variadic,
    descripcion: described(argument),
  }
}

const EXIT_CODES: readonly (readonly [code: string, means: string])[] = [
  ['0', 'hecho'],
  ['1', 'la operación falló'],
  ['2', 'uso incorrecto'],
  ['3', 'error de configuración'],
  ['4', 'Redis o Postgres no están disponibles: repita más tarde'],
  ['130, 143', 'interrumpido'],
]

const FILES: readonly (readonly [place: string, means: string])[] = [
  [
    'resthooks.ini',
    'el primero que exista: --config, $RESTHOOKS_INI, la carpeta del proyecto, la de la instalación, la actual, /etc/resthooks',
  ],
  ['instalador.env', '--env, $RESTHOOKS_ENV, junto a resthooks.ini, la instalación, la carpeta actual'],
]

/** In the language of groff's man macros. */
export function manPage({ descripcion, generales, comandos }: ProgramInfo, version: string): string {
  const options = (all: readonly OptionInfo[]) =>
    all.flatMap(({ nombres, valor, descripcion: says }) => [
      '.TP',
      `.B ${roff(nombres.join(', '))}${valor === null ? '' : ` \\fI${roff(valor)}\\fP`}`,
      roff(says),
    ])
  const pairs = (all: readonly (readonly [string, string])[]) =>
    all.flatMap(([name, means]) => ['.TP', `.B ${roff(name)}`, roff(means)])
  const lines = [
    '.\\" -*- coding: UTF-8 -*-',
    `.TH RESTHOOKS 1 "" "resthooks ${version}" "Manual de resthooks"`,
    '.SH NOMBRE',
    `resthooks \\- ${roff(descripcion)}`,
    '.SH SINOPSIS',
    '.B resthooks',
    '[opciones] \\fIcomando\\fP [argumentos]',
    '.SH OPCIONES GENERALES',
    'Se aceptan antes y después del comando.',
    ...options(generales),
    '.SH COMANDOS',
    ...comandos.flatMap((command) => [
      `.SS ${roff(`${command.nombre} ${command.uso}`.trim())}`,
      roff(`${command.descripcion}.`),
      ...command.argumentos.flatMap(({ valor, descripcion: says }) => ['.TP', `.I ${roff(valor ?? '')}`, roff(says)]),
      ...options(command.opciones),
      ...(EXAMPLES[command.nombre] ?? []).flatMap(([line, means]) => [
        '.PP',
        `${roff(means)}:`,
        '.PP',
        '.RS',
        '.nf',
        roff(line),
        '.fi',
        '.RE',
      ]),
    ]),
    '.SH CÓDIGOS DE SALIDA',
    ...pairs(EXIT_CODES),
    '.SH ARCHIVOS',
    ...pairs(FILES),
  ]
  return `${lines.filter((line) => line !== '').join('\n')}\n`
}

/** What stands for itself, whatever it begins with. */
function roff(text: string): string {
  const plain = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/\s*\n\s*/g, ' ')
  return /^[.']/.test(plain) ? `\\&${plain}` : plain
}

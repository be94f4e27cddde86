/** `ayuda [comando]`: the help, and the manual that is made of it. */
import type { Command } from 'commander'
import { UsageError } from '../errors.ts'
import { suggestion } from '../model/nearest.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly man?: boolean
  readonly json?: boolean
}

export function ayuda(program: Command, _context: Context): void {
  program
    .command('ayuda')
    .alias('help')
    .description('muestra la ayuda, o la de un comando')
    .argument('[comando]', 'el comando del que se quiere saber')
    .option('--man', 'el manual entero, para man(1)')
    .option('--json', 'todos los comandos y sus opciones, un documento JSON')
    .action(async (name: string | undefined, options: Options) => {
      if (options.man || options.json) {
        const { describeProgram, manPage } = await import('./manual.ts')
        const described = describeProgram(program)
        if (options.json) print.json(described)
        else print.verbatim(manPage(described, __VERSION__).trimEnd())
        return
      }
      if (name === undefined) return program.outputHelp()
      const command = program.commands.find((each) => each.name() === name || each.aliases().includes(name))
      if (command) return command.outputHelp()
      const names = program.commands.map((each) => each.name())
      throw new UsageError(`el comando «${name}» no existe.${suggestion(name, names)} Están todos en: resthooks ayuda`)
    })
}

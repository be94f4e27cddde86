/** The program: every command. */
import { main } from './cli.ts'
import { COMMANDS } from './commands/registry.ts'

await main(process.argv.slice(2), COMMANDS)

/** What a command's file exports: a function that adds it to the program. */
import type { Command } from 'commander'
import type { Context } from './context.ts'

export type Definition = (program: Command, context: Context) => void

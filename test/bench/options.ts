/** The options of `npm run bench`. A run of few rounds is a quick look: its sizes are small unless they are given. */
import { Command, InvalidArgumentError } from 'commander'

export interface Options {
  /** Names of the rows to run, in the order of the table. */
  readonly rows: readonly string[]
  /** Only the contenders whose name contains this; null = all. */
  readonly only: string | null
  readonly rounds: number
  /** Deliveries of one measurement of `entregas` and `escala`. */
  readonly messages: number
  /** About how long one measurement of another rate takes. */
  readonly seconds: number
  /** HTTP requests in flight, of every contender. */
  readonly concurrency: number
  /** Lines of the file of `send --lote`. */
  readonly batchLines: number
  /** How many messages wait while deliveries are measured. */
  readonly waiting: readonly number[]
  /** Attempts in the audit while it is read. */
  readonly attempts: number
  readonly markdown: boolean
  /** A file for the Markdown besides the terminal's table; null = none. */
  readonly output: string | null
  readonly profile: boolean
}

const FULL = { seconds: 4, batchLines: 200_000, waiting: [1_000, 100_000, 1_000_000], attempts: 10_000_000 }
const QUICK = { seconds: 1.5, batchLines: 20_000, waiting: [1_000, 20_000, 100_000], attempts: 100_000 }
/** Warm figures need it also in a quick look. */
const MESSAGES = 60_000
/** With fewer rounds than this a median says little. */
const FULL_ROUNDS = 5

/** @throws never: commander prints what is wrong and ends the process */
export function readOptions(args: readonly string[], known: readonly string[]): Options {
  const program = new Command('npm run bench --')
    .description(
      'Mide resthooks, sus pares y el límite de la máquina en una misma corrida, con servidores propios.\n' +
        `Con menos de ${FULL_ROUNDS} rondas es una vista rápida, con tamaños chicos.`,
    )
    .option('--filas <lista>', `filas a medir, separadas por comas: ${known.join(', ')}`, listOf(known), known)
    .option('--rondas <n>', 'rondas de cada medición', integer, FULL_ROUNDS)
    .option('--quien <texto>', 'sólo los programas cuyo nombre contiene este texto (resthooks, BullMQ, límite…)')
    .option(
      '--mensajes <n>',
      'entregas de cada medición de «entregas» y «escala», sin el calentamiento',
      size,
      MESSAGES,
    )
    .option(
      '--segundos <n>',
      `duración aproximada de las demás mediciones de velocidad (${FULL.seconds}; rápida: ${QUICK.seconds})`,
      positive,
    )
    .option('--concurrencia <n>', 'pedidos HTTP en curso, en todos los programas', integer, 100)
    .option('--lineas <n>', 'líneas del archivo de send --lote', size)
    .option('--espera <lista>', 'mensajes en espera de la fila «espera» (1k,100k,1M)', sizes)
    .option('--intentos <n>', 'intentos en la auditoría de la fila «consultas» (10M)', size)
    .option('--markdown', 'la tabla en Markdown por la salida estándar')
    .option('--salida <archivo>', 'además, la tabla en Markdown en un archivo (entre sus marcas «tabla», si las tiene)')
    .option('--perfil', 'en lugar de la tabla: perfil de CPU de un worker que entrega, y qué gastó cada servidor')
    .configureOutput({ writeOut: (text) => process.stderr.write(text) })
    .parse([...args], { from: 'user' })
  const given = program.opts()
  const sized = given.rondas < FULL_ROUNDS ? QUICK : FULL
  return {
    rows: given.filas,
    only: given.quien ?? null,
    rounds: given.rondas,
    messages: given.mensajes,
    seconds: given.segundos ?? sized.seconds,
    concurrency: given.concurrencia,
    batchLines: given.lineas ?? sized.batchLines,
    waiting: given.espera ?? sized.waiting,
    attempts: given.intentos ?? sized.attempts,
    markdown: given.markdown === true,
    output: given.salida ?? null,
    profile: given.perfil === true,
  }
}

function listOf(known: readonly string[]) {
  return (text: string): string[] => {
    const names = text.split(',').map((name) => name.trim())
    const unknown = names.filter((name) => !known.includes(name))
    if (unknown.length > 0) throw new InvalidArgumentError(`no existe ${unknown.join(', ')}; hay: ${known.join(', ')}`)
    return known.filter((name) => names.includes(name))
  }
}

function integer(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('se espera un entero positivo')
  return value
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('se espera un número positivo')
  return value
}

/** `1k`, `2M`, `500`. */
function size(text: string): number {
  const [, digits, unit] = /^(\d+)([kM]?)$/.exec(text.trim()) ?? []
  if (digits === undefined) throw new InvalidArgumentError('se espera un entero, con k o M si hace falta (100k)')
  return Number(digits) * (unit === 'M' ? 1_000_000 : unit === 'k' ? 1_000 : 1)
}

function sizes(text: string): number[] {
  return text.split(',').map(size)
}

/** `send`: puts a message, or with `--lote` one a line, into the queue, and prints its id. */
import type { Command } from 'commander'
import type { Config } from '../config/config.ts'
import { EXIT_CODES, UsageError } from '../errors.ts'
import { newId } from '../id.ts'
import type { Message } from '../model/message.ts'
import { encodeEnvelope, hasControl } from '../queue/envelope-write.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'
import { Audience } from './send-audience.ts'
import {
  addRequestOptions,
  dueAfter,
  durationOption,
  enqueueTrouble,
  headersOf,
  isInactive,
  mustBeJson,
  originOf,
  readBody,
  requestProblems,
  requireJson,
  type SendOptions,
  tracedHeaders,
  whyTooLarge,
} from './send-message.ts'

export function send(program: Command, context: Context): void {
  const command = program
    .command('send')
    .description('encola un mensaje e imprime su id')
    .argument('[evento]', 'por ejemplo proveedor.alta')
    .argument('[datos]', 'JSON; «-» lo lee de la entrada estándar, «@archivo» de un archivo')
  addRequestOptions(command)
    .option('--clave <clave>', 'la misma clave se encola una sola vez en 24 h; se imprime el primer id')
    .option('--demora <duración>', 'no entregar antes de 10m, 2h…')
    .option('--listener <nombre>', 'sólo para este listener')
    .option('--traceparent <valor>', 'traza a la que pertenece (W3C Trace Context); si no, la de $TRACEPARENT')
    .option('--tracestate <valor>', 'lo que la acompaña; si no, $TRACESTATE')
    .option('--lote', 'un mensaje por línea de la entrada estándar: {"evento":…,"datos":…}')
    .option('--esperar [plazo]', 'espera el resultado de todas las entregas (30s si no se indica el plazo)')
    .action(async (event: string | undefined, data: string | undefined, options: SendOptions) => {
      const { listener, esperar } = options
      const config = await context.configToSend([
        ...(listener === undefined ? [] : [`listener ${listener}`]),
        ...(esperar === undefined ? [] : ['auditoria']),
      ])
      if (options.lote) {
        const { sendBatch } = await import('./send-batch.ts')
        await sendBatch(context, config, event, data, options)
        return
      }
      const audience = new Audience(config)
      const message = await messageOf(config, audience, event, data, options)
      const patience = esperar === undefined ? null : await durationOption('--esperar', esperar)
      if (isInactive(config)) return
      const id = await enqueue(context, config, message, options.demora)
      printId(id)
      audience.tell(message.event, message.onlyListener)
      await audience.tellUnserved(await context.queue())
      if (patience !== null) {
        const { awaitOutcomes } = await import('./await-outcomes.ts')
        await awaitOutcomes(context, [id], patience)
      }
    })
}

/** The message is in: a script that repeats what failed to print would double it. */
function printId(id: string): void {
  const lost = (error: NodeJS.ErrnoException) => {
    print.note(`resthooks: ${print.lostOutput(error)}. El mensaje sí se encoló, con el id ${id}: no lo envíe otra vez`)
    // A reader that wanted no id is no failure.
    if (error.code !== 'EPIPE') process.exitCode = EXIT_CODES.FALLO
  }
  print.whenOutputIsLost(lost)
  try {
    print.onlyLine(id)
  } catch (error) {
    lost(error as NodeJS.ErrnoException)
  }
}

/** @throws UsageError when the event is missing, or DATOS or an option is not what it should be */
async function messageOf(
  config: Config,
  audience: Audience,
  event: string | undefined,
  data: string | undefined,
  options: SendOptions,
): Promise<Message> {
  if (event === undefined || event === '') throw new UsageError('falta EVENTO: resthooks send EVENTO [DATOS]')
  if (event.length > 255 || hasControl(event)) {
    throw new UsageError('EVENTO tiene más de 255 caracteres o caracteres de control')
  }
  if (options.demora !== undefined) await durationOption('--demora', options.demora)
  if (options.clave === '') throw new UsageError('--clave está vacía')
  const unknown = audience.unknownListener(options.listener ?? null)
  if (unknown !== null) throw new UsageError(unknown)
  const headers = tracedHeaders(headersOf(options.cabecera), options)
  checkRequest(options, headers, config)
  const { body, given } = await readBody(data)
  const contentType = options.tipoContenido ?? (given ? 'application/json' : '')
  if (given && mustBeJson(contentType)) await requireJson(body)
  return {
    id: newId(),
    event,
    body,
    contentType,
    method: options.metodo?.toUpperCase() ?? null,
    path: options.ruta ?? null,
    headers,
    createdAt: new Date(),
    key: options.clave ?? null,
    origin: originOf(),
    onlyListener: options.listener ?? null,
    notBefore: null,
    depth: 0,
  }
}

function checkRequest(options: SendOptions, headers: Readonly<Record<string, string>>, config: Config): void {
  const { ruta, metodo, tipoContenido } = options
  if (ruta === undefined && metodo === undefined && tipoContenido === undefined && Object.keys(headers).length === 0)
    return
  const problems = requestProblems(
    { path: ruta ?? null, method: metodo ?? null, headers, contentType: tipoContenido ?? '' },
    config.listeners.values(),
  )
  if (problems.length > 0) throw new UsageError(problems.join('\n           '))
}

async function enqueue(context: Context, config: Config, message: Message, delay: string | undefined): Promise<string> {
  const queue = await context.queue()
  try {
    let timed = message
    if (delay !== undefined) {
      timed = { ...message, notBefore: dueAfter(await queue.now(), await durationOption('--demora', delay)) }
    }
    const envelope = encodeEnvelope(timed)
    const tooLarge = whyTooLarge(Buffer.byteLength(envelope), config)
    if (tooLarge !== null) throw new UsageError(`el mensaje ${tooLarge}`)
    if (timed.key !== null) return await queue.enqueueOnce(timed.key, timed.id, envelope)
    await queue.enqueue([envelope])
    return timed.id
  } catch (error) {
    throw await enqueueTrouble(context, error, message.key === null ? ONE_WITHOUT_KEY : ONE_WITH_KEY)
  }
}

const ONE_WITHOUT_KEY =
  'El mensaje pudo haber quedado encolado: si lo repite puede llegar dos veces. Con --clave CLAVE se repite sin ese riesgo'
const ONE_WITH_KEY = 'El mensaje pudo haber quedado encolado: repítalo con la misma --clave y no llegará dos veces'

/** `ver ID`: one message, how it stands with each listener and everything that happened to it. */

import type { Command } from 'commander'
import type { MessageColumns, Timeline } from '../audit/queries.ts'
import type { MessageReport } from '../checks/message-report.ts'
import { withheld } from '../delivery/mask.ts'
import { OperationFailed, ResthooksError, together, UsageError } from '../errors.ts'
import { suggestion } from '../model/nearest.ts'
import type { Secrets } from '../model/secrets.ts'
import { typed } from '../model/typed.ts'
import { bodyLines, bodyText, contentTypeOf } from '../model/wire-text.ts'
import type { Context } from './context.ts'
import * as print from './print.ts'

interface Options {
  readonly todo?: boolean
  readonly cuerpo?: boolean
  readonly evidencia?: string
  readonly json?: boolean
}

export function ver(program: Command, context: Context): void {
  program
    .command('ver')
    .description('muestra un mensaje: cómo está con cada listener, por qué espera, y todo lo que le pasó')
    .argument('<id>', 'el id que devolvió send, o el de la columna mensaje_id de auditoria')
    .option('--todo', 'también las cabeceras y los cuerpos de cada pedido')
    .option('--cuerpo', 'sólo el cuerpo del mensaje, byte por byte')
    .option('--evidencia <listener>', 'lo que se le envió y lo que contestó, con sus sha256, para entregar y firmar')
    .option('--json', 'un documento JSON, con los cuerpos completos')
    .action(async (id: string, options: Options) => {
      if (options.cuerpo && (options.todo || options.json || options.evidencia))
        throw new UsageError('--cuerpo va solo')
      if (options.evidencia && options.todo) throw new UsageError('use --todo o --evidencia, no ambos')
      const config = await context.configToLook()
      const { messageReport } = await import('../checks/message-report.ts')
      const report = await messageReport(id, {
        config,
        audit: () => context.audit(),
        queue: () => context.queue(),
        explain: (error) => context.explain(error),
      })
      const { troubles, timeline } = report
      const [trouble, ...others] = troubles
      if (timeline === null) throw trouble ? together(trouble, ...others) : await unknownMessage(id, context)
      if (options.cuerpo) return writeBody(id, timeline.message)
      const shown = {
        ...report,
        timeline: { ...timeline, message: timeline.message && withheld(timeline.message, config.secrets) },
      }
      if (options.evidencia !== undefined)
        await showEvidence(id, shown.timeline, options.evidencia, config.secrets, options)
      else if (options.json) print.json(documentOf(shown))
      else {
        const { screen } = await import('./ver-screen.ts')
        const lines = await screen(id, shown, { width: print.width(), now: new Date(), all: options.todo === true })
        for (const each of lines) print.line(each)
      }
      // What is known is worth seeing; that it is not all is no success.
      if (trouble) throw new ResthooksError(trouble.code, `falta lo que no se pudo preguntar: ${trouble.message}`)
    })
}

async function unknownMessage(id: string, context: Context): Promise<OperationFailed> {
  const { instancia, proyecto } = await context.config()
  const [owner] = await (await context.audit()).projectsOf(id)
  const instance = owner && owner.instancia !== instancia ? ` -i ${owner.instancia}` : ''
  const hint = owner
    ? `Es del proyecto «${owner.proyecto}» de la instancia «${owner.instancia}»: repítalo con -p ${owner.proyecto}${instance}`
    : `Si es viejo, puede haberlo borrado «resthooks purgar»; si es de otro proyecto, indíquelo con -p. Vea también «${typed('estado')}».`
  return new OperationFailed(
    `Ni la auditoría ni la cola tienen ningún mensaje «${id}» de la instancia «${instancia}», proyecto «${proyecto}». ${hint}`,
  )
}

/** On a terminal through the cleaner, as everything that strangers wrote; else to the letter. */
async function writeBody(id: string, message: MessageColumns | null): Promise<void> {
  if (message?.cuerpo == null) {
    const why = message === null ? 'todavía no está en la auditoría' : 'no se guarda (auditar_cuerpo = 0)'
    throw new OperationFailed(`El cuerpo del mensaje ${id} ${why}.`)
  }
  if (process.stdout.isTTY) for (const each of await bodyLines(message.cuerpo, message.tipo_contenido)) print.line(each)
  else print.stdout().write(message.cuerpo)
}

/** @throws UsageError when the message has no delivery to it */
async function showEvidence(id: string, timeline: Timeline, listener: string, secrets: Secrets, { json }: Options) {
  const { evidenceOf, evidenceText } = await import('../audit/evidence.ts')
  const evidence = evidenceOf(timeline, listener, { secrets, version: __VERSION__, now: new Date() })
  if (evidence === null) {
    const names = timeline.deliveries.map((delivery) => delivery.listener)
    throw new UsageError(
      timeline.message === null
        ? `el contenido del mensaje ${id} todavía no está en la auditoría: no hay de qué dar evidencia.`
        : `el mensaje ${id} no es para «${listener}»; es para: ${names.join(', ') || 'nadie'}.${suggestion(listener, names)}`,
    )
  }
  if (json) print.json(evidence)
  else print.line(await evidenceText(evidence))
}

/** The keys of `--json`, in Spanish as the columns; bodies as text where they are text, else in base64. */
function documentOf({ timeline, waiting, undispatched, pending }: MessageReport) {
  const { message, deliveries, attempts, callbacks, actions } = timeline!
  return {
    mensaje: message && withTextBody(message, 'cuerpo', message.tipo_contenido),
    espera: undispatched,
    entregas: deliveries.map((delivery) => ({ ...delivery, espera: waiting.get(delivery.listener) ?? null })),
    intentos: attempts.map((attempt) => {
      const type = contentTypeOf(attempt.respuesta_cabeceras)
      return withTextBody(attempt, 'respuesta_cuerpo', type)
    }),
    callbacks,
    acciones: actions,
    auditoria_pendiente: pending,
  }
}

function withTextBody<Row extends object, Name extends keyof Row & string>(row: Row, name: Name, type: string | null) {
  const body = row[name] as Buffer | null
  if (body === null) return row
  const text = bodyText(body, type)
  return text === null
    ? { ...row, [name]: null, [`${name}_base64`]: body.toString('base64') }
    : { ...row, [name]: text }
}

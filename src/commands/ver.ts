/** `ver ID`: one message with its whole timeline. */
import type { Command } from 'commander'
import type { MessageColumns, Timeline } from '../audit/queries.ts'
import { maskUrl } from '../delivery/mask.ts'
import { OperationFailed } from '../errors.ts'
import { isSecretHeader, MASK, type Secrets } from '../model/secrets.ts'
import { bodyText } from './body-text.ts'
import type { Context } from './context.ts'
import { json, line } from './print.ts'

export function ver(program: Command, context: Context): void {
  program
    .command('ver')
    .description('Muestra un mensaje con toda su historia: contenido, entregas, cada pedido HTTP y cada callback.')
    .argument('<id>', 'el id que devolvió send, o el de la columna mensaje_id de auditoria')
    .option('--json', 'un documento JSON, con los cuerpos completos')
    .action(async (id: string, options: { json?: boolean }) => {
      const audit = await context.audit()
      const timeline = await audit.message(id)
      if (!timeline) throw await unknownMessage(id, context)
      const { secrets } = await context.config()
      const shown = { ...timeline, message: timeline.message && withheld(timeline.message, secrets) }
      if (options.json) return json(documentOf(shown))
      const { timelineLines } = await import('./timeline-text.ts')
      for (const each of await timelineLines(id, shown)) line(each)
    })
}

/** What the message itself carries is kept for `reenviar`, and not shown: neither here nor where an answer repeats it. */
function withheld(message: MessageColumns, secrets: Secrets): MessageColumns {
  const cabeceras: Record<string, string> = {}
  for (const [name, value] of Object.entries(message.cabeceras)) {
    const isSecret = isSecretHeader(name)
    if (isSecret) secrets.add(value)
    cabeceras[name] = isSecret ? MASK : value
  }
  return { ...message, cabeceras, ruta: message.ruta && maskUrl(message.ruta) }
}

async function unknownMessage(id: string, context: Context): Promise<OperationFailed> {
  const { instancia, proyecto } = await context.config()
  return new OperationFailed(
    `La auditoría no tiene ningún mensaje «${id}» de la instancia «${instancia}», proyecto «${proyecto}». ` +
      'Si se envió hace poco puede estar todavía en la cola, o su auditoría sin escribir en Postgres: vea «resthooks estado» ' +
      'y que haya workers en marcha. Si es viejo, puede haberlo borrado «resthooks purgar».',
  )
}

/** The keys of `--json`, in Spanish as the columns; bodies as text where they are text, else in base64. */
function documentOf({ message, deliveries, attempts, callbacks }: Timeline) {
  return {
    mensaje: message && withTextBody(message, 'cuerpo', message.tipo_contenido),
    entregas: deliveries,
    intentos: attempts.map((attempt) => {
      const type = [attempt.respuesta_cabeceras?.['content-type'] ?? null].flat()[0] ?? null
      return withTextBody(attempt, 'respuesta_cuerpo', type)
    }),
    callbacks,
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

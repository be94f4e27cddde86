/** `crear-base`: the audit schema, created or upgraded. */
import type { Command } from 'commander'
import { AUDIT_PART } from '../config/config.ts'
import type { Context } from './context.ts'
import { line, note, verbatim } from './print.ts'

interface Options {
  readonly mostrarSql?: boolean
  readonly rol?: string
  readonly rolLectura?: string
}

export function crearBase(program: Command, context: Context): void {
  program
    .command('crear-base')
    .description('crea o actualiza el esquema de auditoría en Postgres; se puede repetir sin peligro')
    .option(
      '--mostrar-sql',
      'no toca la base: muestra el SQL, permisos incluidos, para que lo ejecute un administrador',
    )
    .option('--rol <nombre>', 'otorga a este rol lo que un worker necesita, y nada más')
    .option('--rol-lectura <nombre>', 'otorga a este rol lo que hace falta para leer la auditoría, y nada más')
    .addHelpText(
      'after',
      `
Para que lo ejecute otro usuario:
    resthooks crear-base --mostrar-sql | psql -v ON_ERROR_STOP=1 -U postgres …

El SQL mostrado otorga lo de un worker a --rol; sin él, al usuario de la configuración (REST_HOOKS_DB_USERNAME).`,
    )
    .action(async ({ mostrarSql, rol, rolLectura }: Options) => {
      const { audit } = await context.configToLook(AUDIT_PART)
      const { migrate, migrationScript } = await import('../audit/migrate.ts')
      if (mostrarSql) {
        verbatim(migrationScript(audit.schema, { worker: rol ?? audit.username, reader: rolLectura }).trimEnd())
        return
      }
      const { applied, version, partitions } = await migrate(audit, {
        roles: { worker: rol, reader: rolLectura },
        onFilling: () =>
          note(
            'Lo que ya estaba se completa: con muchas filas tarda minutos, y los workers siguen. Se puede cortar y repetir.',
          ),
      })
      const where = `Esquema «${audit.schema}» de la base «${audit.database}» (${audit.host}:${audit.port})`
      for (const { name } of applied) line(`aplicada ${name}`)
      if (partitions > 0) line(`creadas ${partitions} partes mensuales de las tablas`)
      if (rol !== undefined) line(`otorgado a «${rol}» lo que un worker necesita`)
      if (rolLectura !== undefined) line(`otorgado a «${rolLectura}» lo que hace falta para leer`)
      line(
        applied.length > 0 ? `${where}: listo, versión ${version}.` : `${where}: ya estaba en la versión ${version}.`,
      )
    })
}

/** `crear-base`: the audit schema, created or upgraded. */
import type { Command } from 'commander'
import type { Context } from './context.ts'
import { line } from './print.ts'

export function crearBase(program: Command, context: Context): void {
  program
    .command('crear-base')
    .description('Crea o actualiza el esquema de auditoría en Postgres. Se puede repetir sin peligro.')
    .option('--mostrar-sql', 'no toca la base: muestra el SQL, para que lo ejecute un administrador')
    .addHelpText(
      'after',
      `
Para ver qué se ejecutaría:          resthooks crear-base --mostrar-sql
Para que lo ejecute otro usuario:    resthooks crear-base --mostrar-sql | psql -U postgres …`,
    )
    .action(async ({ mostrarSql }: { mostrarSql?: boolean }) => {
      const { audit } = await context.config()
      const { migrate, migrationScript } = await import('../audit/migrate.ts')
      if (mostrarSql) {
        line(migrationScript(audit.schema).trimEnd())
        return
      }
      const { applied, version, partitions } = await migrate(audit)
      const where = `Esquema «${audit.schema}» de la base «${audit.database}» (${audit.host}:${audit.port})`
      for (const { name } of applied) line(`aplicada ${name}`)
      if (partitions > 0) line(`creadas ${partitions} partes mensuales de las tablas`)
      line(
        applied.length > 0 ? `${where}: listo, versión ${version}.` : `${where}: ya estaba en la versión ${version}.`,
      )
    })
}

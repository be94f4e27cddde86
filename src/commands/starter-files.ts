/**
 * What `iniciar` writes: both configuration files, the DBA's SQL and the unit that keeps the workers running. Apart from the
 * command since it is pure: answers in, texts out. The unit is the one of `contrib/` (or supervisord's example) with this
 * installation's paths, so that what is said there about signals and time-outs stands once.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { migrationScript } from '../audit/migrate.ts'
import { packageRoot } from '../folders.ts'
import { shellWord } from '../model/words.ts'

export const KEEPERS = ['systemd', 'supervisord', 'ninguno'] as const
export type Keeper = (typeof KEEPERS)[number]

export interface Server {
  readonly host: string
  readonly port: number
  /** '' where there is none. */
  readonly password: string
}

export interface Answers {
  readonly instancia: string
  readonly proyecto: string
  /** Where the files go, absolute. */
  readonly folder: string
  /** `$TOBA_INSTALACION_DIR`, where the folder is a project's of it. */
  readonly installation: string | null
  readonly redis: Server
  readonly postgres: Server & { readonly username: string; readonly database: string; readonly schema: string }
  readonly listener: { readonly name: string; readonly url: string; readonly events: string }
  readonly keeper: Keeper
  /** Words by which every command finds the files; none where it looks there by itself. */
  readonly where: readonly string[]
  /** Who runs the workers. */
  readonly user: string
  /** Where supervisord may write their log. */
  readonly logs: string
  /** How the program is started: `/usr/bin/resthooks`, with its Node before it where that is not on every PATH. */
  readonly program: readonly string[]
}

export interface StarterFile {
  readonly name: string
  readonly text: string
}

/** In the order in which they are written. */
export function starterFiles(answers: Answers): StarterFile[] {
  const files = [
    { name: 'resthooks.ini', text: iniText(answers) },
    { name: 'instalador.env', text: envText(answers) },
    { name: 'crear-base.sql', text: sqlText(answers) },
  ]
  const { keeper } = answers
  if (keeper === 'systemd') files.push({ name: `${unitName(answers)}.service`, text: systemdUnit(answers) })
  if (keeper === 'supervisord') files.push({ name: `${unitName(answers)}.conf`, text: supervisordUnit(answers) })
  return files
}

/** Several projects of one machine have a unit each. */
function unitName({ proyecto }: Pick<Answers, 'proyecto'>): string {
  return proyecto === 'resthooks' ? 'resthooks' : `resthooks-${proyecto}`
}

function iniText({ listener, proyecto, instancia }: Answers): string {
  return `; resthooks.ini de ${instancia}, ${proyecto}: qué se entrega, a quién y cómo. Todas las claves, con sus valores por omisión, están en
; ${join(packageRoot(), 'resthooks.ini.example')}
; Los workers toman los cambios solos; se controlan con: resthooks verificar

resthooks_activo = 1

[listener ${listener.name}]
url = ${iniValue(listener.url)}
eventos = ${iniValue(listener.events)}
; Si el sistema pide identificarse (basic, digest, bearer, api_key, oauth2, ssl):
;auth_tipo = basic
;auth_usuario = ${proyecto}
;auth_password = \${CLAVE_DE_${listener.name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}}
`
}

function envText({ redis, postgres }: Answers): string {
  const variables: Record<string, string | number> = {
    REST_HOOKS_REDIS_HOST: redis.host,
    REST_HOOKS_REDIS_PORT: redis.port,
    ...(redis.password && { REST_HOOKS_REDIS_PASSWORD: redis.password }),
    REST_HOOKS_DB_HOST: postgres.host,
    REST_HOOKS_DB_PORT: postgres.port,
    REST_HOOKS_DB_DBNAME: postgres.database,
    REST_HOOKS_DB_USERNAME: postgres.username,
    ...(postgres.password && { REST_HOOKS_DB_PASSWORD: postgres.password }),
    REST_HOOKS_DB_SCHEMA: postgres.schema,
  }
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${envValue(String(value))}`)
  return `##### RESTHOOKS #####
# Guarda claves: que lo lean sólo quien administra y el usuario de los workers.
${lines.join('\n')}

# Claves que resthooks.ini nombra como \${CLAVE_DE_…}:
`
}

function sqlText({ postgres: { schema, username, database } }: Answers): string {
  return `-- Para el administrador de Postgres. Es lo que muestra «resthooks crear-base --mostrar-sql»: crea el esquema de auditoría y otorga a
-- «${username}» lo que un worker necesita. Antes, si no existen:
--
--   CREATE ROLE "${username}" LOGIN PASSWORD '…';        -- la clave de REST_HOOKS_DB_PASSWORD
--   CREATE DATABASE "${database}";
--
-- Y después:   psql -v ON_ERROR_STOP=1 -d ${database} -f crear-base.sql
-- Si «${username}» puede crear su esquema, en lugar de este archivo alcanza con: resthooks crear-base

${migrationScript(schema, { worker: username }).trimEnd()}
`
}

function systemdUnit(answers: Answers): string {
  const template = readFileSync(join(packageRoot(), 'contrib/resthooks.service'), 'utf8')
  const { installation, user } = answers
  const place =
    installation === null ? '' : `Environment="TOBA_INSTALACION_DIR=${installation.replaceAll('%', '%%')}"\n`
  return replaced(template, [
    [/^# resthooks bajo systemd.*\n/m, `# resthooks bajo systemd, para ${answers.instancia} y ${answers.proyecto}.\n`],
    [/(?<=^# {3}systemctl reload )resthooks {8}/m, `${unitName(answers)}   `],
    [/(?<=^# {3}journalctl -u )resthooks(?= -o cat)/m, unitName(answers)],
    [/(?<=«systemctl edit )resthooks(?=»)/, unitName(answers)],
    [/^# {3}cp resthooks.*$/m, `#   ${howToInstall(answers)}`],
    [/^# TOBA_INSTALACION_DIR.*\nEnvironmentFile=.*\n/m, place],
    [/^ExecStart=.*$/m, `ExecStart=${command(answers)}`],
    [/^User=.*$/m, `User=${user}`],
    [/^Description=.*$/m, `Description=resthooks: entrega de mensajes (${answers.instancia}, ${answers.proyecto})`],
  ])
}

function supervisordUnit(answers: Answers): string {
  const template = readFileSync(join(packageRoot(), 'supervisord.conf.example'), 'utf8')
  const { installation, user, folder, logs } = answers
  const name = unitName(answers)
  const place =
    installation === null ? '' : `environment=TOBA_INSTALACION_DIR="${installation.replaceAll('%', '%%')}"\n`
  return replaced(template, [
    [
      /Copie este archivo como \S+, ajuste las rutas y luego:/,
      `Para ${answers.instancia} y ${answers.proyecto}; se instala con:`,
    ],
    [/^; {3}supervisorctl reread.*$/m, `;   ${howToInstall(answers)}`],
    [/supervisorctl status resthooks/, `supervisorctl status ${name}`],
    [/supervisorctl signal HUP resthooks/, `supervisorctl signal HUP ${name}`],
    [/^\[program:resthooks\]$/m, `[program:${name}]`],
    [/^; La ruta que diga.*\ncommand=.*$/m, `command=${command(answers)}`],
    [/^directory=.*$/m, `directory=${folder}`],
    [/^user=.*$/m, `user=${user}`],
    [/^; Dónde está la instalación.*\nenvironment=.*\n/m, place],
    [/^stdout_logfile=.*$/m, `stdout_logfile=${join(logs, `${name}.log`)}`],
  ])
}

/** What an administrator types to install the unit. */
export function howToInstall(answers: Answers): string {
  const name = unitName(answers)
  const file = (ending: string) => shellWord(join(answers.folder, `${name}.${ending}`))
  if (answers.keeper === 'systemd')
    return `cp ${file('service')} /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now ${name}`
  return `cp ${file('conf')} /etc/supervisor/conf.d/ && supervisorctl reread && supervisorctl update`
}

/** Both kinds of unit read double quotes, and a percent sign as the beginning of a name of theirs. */
function command({ program, where, instancia, proyecto }: Answers): string {
  const words = [...program, 'iniciar-workers', '-i', instancia, '-p', proyecto, ...where]
  return words.map((word) => (/^[\w./:@+-]+$/.test(word) ? word : `"${word.replaceAll('%', '%%')}"`)).join(' ')
}

/** @throws where the template has no such line: half a unit would start something else */
function replaced(template: string, changes: readonly (readonly [RegExp, string])[]): string {
  return changes.reduce((text, [pattern, by]) => {
    if (!pattern.test(text)) throw new Error(`the template has no ${pattern}`)
    return text.replace(pattern, () => by)
  }, template)
}

function iniValue(text: string): string {
  const literal = text.replaceAll('${', '$${')
  return /^[\w.:/@*, -]*$/.test(literal) ? literal : `"${literal.replace(/["\\]/g, '\\$&')}"`
}

function envValue(text: string): string {
  if (/^[\w.:/@-]*$/.test(text)) return text
  return text.includes("'") ? `"${text.replace(/["\\$]/g, '\\$&')}"` : `'${text}'`
}

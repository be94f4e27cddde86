/**
 * `iniciar`: from five answers (or options) to the two configuration files, the DBA's SQL and the unit of the workers; at the end
 * `verificar` says what is still missing. It never overwrites: where one of the files is there already, it writes none.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { Kind } from '../config/kinds.ts'
import { OperationFailed, systemReason, UsageError } from '../errors.ts'
import { shellWord } from '../model/words.ts'
import type { Context, GlobalOptions } from './context.ts'
import { line, note } from './print.ts'
import { type Answers, howToInstall, KEEPERS, type Keeper, type Server, type StarterFile } from './starter-files.ts'
import { openTerminal, type Terminal } from './terminal.ts'

interface Options {
  readonly redis?: string
  readonly postgres?: string
  readonly listener?: string
  readonly eventos?: string
  readonly servicio?: string
  readonly usuario?: string
  readonly carpeta?: string
  readonly si?: boolean
}

export function iniciar(program: Command, context: Context): void {
  program
    .command('iniciar')
    .description(
      'pregunta lo necesario y escribe resthooks.ini, instalador.env, el SQL para el administrador de la base y la unidad de ' +
        'systemd o supervisord; nunca reemplaza un archivo',
    )
    .option('--redis <servidor:puerto>', 'dónde está Redis (por omisión: 127.0.0.1:6379)')
    .option('--postgres <usuario@servidor:puerto/base>', 'la base de auditoría (resthooks@127.0.0.1:5432/resthooks)')
    .option('--listener <url>', 'el primer sistema que recibe mensajes')
    .option('--eventos <lista>', 'qué eventos recibe, separados por comas (por omisión: todos)')
    .option('--servicio <cuál>', 'quién mantiene los workers en marcha: systemd, supervisord o ninguno')
    .option('--usuario <nombre>', 'con qué usuario corren los workers')
    .option(
      '--carpeta <carpeta>',
      'dónde se escriben (si no: la del proyecto en la instalación de toba, o /etc/resthooks)',
    )
    .option('--si', 'no pregunta: toma las opciones y, de lo demás, los valores por omisión')
    .addHelpText(
      'after',
      '\nLas claves no van en la orden, que otros usuarios de la máquina ven: se preguntan sin mostrarlas o, con --si, se ' +
        'toman de REST_HOOKS_REDIS_PASSWORD y REST_HOOKS_DB_PASSWORD.',
    )
    .action(async (options: Options) => {
      const answers = await ask(context.options, options)
      const { starterFiles } = await import('./starter-files.ts')
      const files = starterFiles(answers)
      write(answers, files)
      for (const { name } of files) line(join(answers.folder, name))
      tellNextSteps(answers)
      verify(answers)
    })
}

/** Each of the five is asked where neither an option gave it nor `--si` left it as it is. */
async function ask(global: GlobalOptions, options: Options): Promise<Answers> {
  const [{ searchPlaces }, { SINGLE_SECTIONS, NAMED_SECTIONS }] = await Promise.all([
    import('../config/load.ts'),
    import('../config/settings.ts'),
  ])
  const kindOf = (key: 'url' | 'eventos') => NAMED_SECTIONS.listener![key]!.kind
  const postgresDefaults = SINGLE_SECTIONS.auditoria!
  const places = searchPlaces(global)
  const { instancia, proyecto } = places
  const environment = process.env
  const isInstallation = Boolean(
    global.instalacion || environment.TOBA_INSTALACION_DIR || environment.TOBA_DIR || existsSync('instalacion'),
  )
  const folder = resolve(
    options.carpeta ??
      (isInstallation ? join(places.installation, `i__${instancia}`, `p__${proyecto}`) : '/etc/resthooks'),
  )
  const user = options.usuario ?? defaultUser()
  if (idOf(user, '-u') === null) throw new UsageError(`--usuario: el usuario «${user}» no existe en esta máquina`)
  const terminal = options.si === true ? null : openTerminal()
  try {
    if (terminal !== null) note(`Proyecto «${proyecto}» de «${instancia}» (se eligen con -p y -i), en ${folder}\n`)
    const redis = await answered(terminal, {
      ...{ option: '--redis', given: options.redis, question: 'Redis', fallback: '127.0.0.1:6379' },
      read: (text) => server(text, 6379),
    })
    const redisPassword =
      environment.REST_HOOKS_REDIS_PASSWORD ?? (await terminal?.hidden('  su clave (vacía si no tiene)')) ?? ''
    const postgres = await answered(terminal, {
      ...{ option: '--postgres', given: options.postgres, question: 'Postgres, la base de auditoría' },
      fallback: 'resthooks@127.0.0.1:5432/resthooks',
      read: (text) => {
        const { host, port, username, path } = server(text, 5432)
        if (username === '' || path === '') throw new UsageError('se espera usuario@servidor:puerto/base')
        return { host, port, username, database: path }
      },
    })
    const postgresPassword =
      environment.REST_HOOKS_DB_PASSWORD ??
      (await terminal?.hidden(`  la clave de «${postgres.username}» (vacía si no tiene)`)) ??
      ''
    const url = await answered(terminal, {
      ...{ option: '--listener', given: options.listener, question: 'URL del sistema que recibe los mensajes' },
      read: (text) => accepted(kindOf('url'), text),
    })
    const events = await answered(terminal, {
      ...{ option: '--eventos', given: options.eventos, question: 'Qué eventos recibe (* son todos)', fallback: '*' },
      read: (text) => accepted(kindOf('eventos'), text),
    })
    const keeper = await answered(terminal, {
      ...{ option: '--servicio', given: options.servicio, fallback: defaultKeeper() },
      question: `Quién mantiene los workers en marcha (${KEEPERS.join(', ')})`,
      read: (text) => {
        const found = KEEPERS.find((name) => name === text.trim().toLowerCase())
        if (found === undefined) throw new UsageError(`se espera ${KEEPERS.join(', ')}`)
        return found
      },
    })
    return {
      ...{ instancia, proyecto, folder, keeper, user, program: ownProgram() },
      installation: isInstallation && options.carpeta === undefined ? places.installation : null,
      logs: process.geteuid?.() === 0 ? '/var/log/supervisor' : folder,
      where: options.carpeta === undefined ? [] : ['--config', join(folder, 'resthooks.ini')],
      redis: { host: redis.host, port: redis.port, password: redisPassword },
      postgres: {
        ...postgres,
        password: postgresPassword,
        schema: environment.REST_HOOKS_DB_SCHEMA ?? String(postgresDefaults.schema!.default),
      },
      listener: { name: nameOf(url), url, events },
    }
  } finally {
    terminal?.close()
  }
}

interface Question<T> {
  readonly option: string
  readonly given: string | undefined
  readonly question: string
  /** Without one, it has to be answered. */
  readonly fallback?: string
  /** @throws UsageError that says what is accepted */
  read(text: string): T
}

/** A wrong answer is asked again; a wrong option ends the command. */
async function answered<T>(terminal: Terminal | null, question: Question<T>): Promise<T> {
  const { option, given, fallback, read } = question
  const asOption = (text: string) => {
    try {
      return read(text)
    } catch (error) {
      if (error instanceof UsageError) throw new UsageError(`${option}: ${error.message}`)
      throw error
    }
  }
  if (given !== undefined) return asOption(given)
  if (terminal === null) {
    if (fallback === undefined) throw new UsageError(`falta ${option}, y aquí no hay una terminal donde preguntarlo`)
    return asOption(fallback)
  }
  for (;;) {
    const text = await terminal.line(question.question, fallback)
    try {
      return read(text)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      note(`  ${error.message}`)
    }
  }
}

/** `host`, `host:port`, `user@host:port/path`, with or without a scheme before it. */
function server(text: string, defaultPort: number): Omit<Server, 'password'> & { username: string; path: string } {
  const { hostname, port, username, password, pathname } = urlOf(`x://${text.trim().replace(/^[a-z]+:\/\//i, '')}`)
  if (password !== '') throw new UsageError('la clave no va aquí, donde otros la ven: se pide aparte, sin mostrarla')
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? defaultPort : Number(port),
    username: decodeURIComponent(username),
    path: decodeURIComponent(pathname.replace(/^\//, '')),
  }
}

function urlOf(text: string): URL {
  const url = URL.parse?.(text) ?? (URL.canParse(text) ? new URL(text) : null)
  if (url === null || url.hostname === '') throw new UsageError('se espera servidor:puerto')
  return url
}

function accepted(kind: Kind<unknown>, text: string): string {
  const result = kind.read([text.trim()])
  if (result.ok) return text.trim()
  throw new UsageError(`se acepta ${kind.accepted}${result.why === undefined ? '' : `. ${result.why}`}`)
}

/** `https://compras.example.edu.ar/rest/` is `compras`. */
function nameOf(url: string): string {
  const { hostname } = new URL(url)
  const [first = ''] = hostname.split('.')
  return /[a-z]/.test(first) && !hostname.startsWith('[') ? first : 'sistema'
}

function defaultUser(): string {
  if (process.geteuid?.() !== 0) return userInfo().username
  return ['resthooks', 'www-data'].find((name) => idOf(name, '-u') !== null) ?? 'root'
}

function idOf(user: string, which: '-u' | '-g'): number | null {
  const { status, stdout } = spawnSync('id', [which, '--', user], { encoding: 'utf8' })
  return status === 0 ? Number(stdout) : null
}

function defaultKeeper(): Keeper {
  if (existsSync('/run/systemd/system')) return 'systemd'
  return existsSync('/etc/supervisor') ? 'supervisord' : 'ninguno'
}

/** The Node of a version manager is on nobody else's PATH. */
function ownProgram(): string[] {
  const everywhere = ['/usr/local/bin', '/usr/bin', '/bin'].includes(dirname(process.execPath))
  return [...(everywhere ? [] : [process.execPath]), resolve(process.argv[1]!)]
}

/** All of them or none; readable by the one who runs the workers and by nobody else. */
function write({ folder, user }: Answers, files: readonly StarterFile[]): void {
  const present = files.filter(({ name }) => existsSync(join(folder, name)))
  if (present.length > 0) {
    throw new OperationFailed(
      `En ${folder} ya está ${present.map(({ name }) => name).join(', ')}, y «iniciar» no reemplaza nada: no se escribió ningún ` +
        'archivo. Muévalos, o elija otra carpeta con --carpeta.',
    )
  }
  const group = process.geteuid?.() === 0 ? idOf(user, '-g') : null
  const written: string[] = []
  try {
    makeFolder(folder)
    for (const { name, text } of files) {
      const path = join(folder, name)
      writeFileSync(path, text, { flag: 'wx', mode: 0o600 })
      written.push(path)
      if (group === null) continue
      chownSync(path, 0, group)
      chmodSync(path, 0o640)
    }
  } catch (error) {
    for (const path of written) rmSync(path, { force: true })
    const why = systemReason(error)
    if (why === null) throw error
    throw new OperationFailed(`No se pudo escribir en ${folder}: ${why}. Use sudo, o elija otra carpeta con --carpeta.`)
  }
}

/** Step by step: in a folder that takes none (/proc) Node's own way tries for ever. */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  makeFolder(dirname(path))
  mkdirSync(path)
}

function tellNextSteps(answers: Answers): void {
  const { folder, keeper, instancia, proyecto, where } = answers
  const ofProject = ['-i', instancia, '-p', proyecto, ...where].map(shellWord).join(' ')
  note(
    [
      '',
      'Falta:',
      `  1. La base: resthooks crear-base ${ofProject}`,
      `     (o que el administrador ejecute ${join(folder, 'crear-base.sql')})`,
      '  2. Los workers:',
      `     ${keeper === 'ninguno' ? `resthooks iniciar-workers ${ofProject}` : howToInstall(answers)}`,
      '',
      'Lo que dice ahora «resthooks verificar»:',
    ].join('\n'),
  )
}

/** What it finds is told by it; the files are written all the same. */
function verify({ instancia, proyecto, where, installation }: Answers): void {
  const place = installation === null ? where : ['--instalacion', installation]
  const words = ['verificar', '-i', instancia, '-p', proyecto, ...place]
  const { error } = spawnSync(process.execPath, [process.argv[1]!, ...words], { stdio: 'inherit' })
  if (error) throw error
}

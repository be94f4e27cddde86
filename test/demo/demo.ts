/**
 * The whole product in half a minute, on private servers that end with it: a supplier and some purchases go to three
 * systems, of which one is well, one is down for a moment and one refuses everything.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import colors from 'picocolors'
import postgres from 'postgres'
import { type CliOptions, runCli, spawnWorker, type Worker } from '../support/cli.ts'
import { envText, type IniSections, iniText } from '../support/config-files.ts'
import { type ReceivedRequest, type Reply, startListener } from '../support/listener.ts'
import { startPostgres } from '../support/postgres-server.ts'
import { givenRedis, startRedis } from '../support/redis-server.ts'
import { orSayWhy } from '../support/set-up.ts'
import { until } from '../support/until.ts'
import { BATCH, PURCHASE, SUPPLIER } from './messages.ts'
import { openPage, troubledSystem } from './page.ts'

/** `--panel` leaves the page open; `--capturas FOLDER` takes pictures of it. */
const withPage = process.argv.includes('--panel')
const pictures = process.argv.includes('--capturas') ? process.argv[process.argv.indexOf('--capturas') + 1] : undefined

/** Of its own: a Redis that is not the demo's may hold real messages. */
const INSTANCIA = `demo_${process.pid}`

/** What is to be ended, last one first. */
const endings: (() => Promise<unknown>)[] = []
/** Nothing more is begun or waited for. */
let interrupted = false

const running = demo().finally(end)
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, async () => {
    interrupted = true
    await end()
    // A server that was just starting is ended by the demo itself.
    await running.catch(() => {})
    process.exit(code)
  })
}
await orSayWhy(
  running.catch((error) => {
    if (!interrupted) throw error
  }),
)

async function demo() {
  title('1. Servidores propios: Redis y Postgres en puertos libres, con datos en carpetas temporales')
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-demo-'))
  endings.push(() => rm(folder, { recursive: true, force: true }))
  const [redis, database] = await Promise.all([startRedisOrUseGiven(), startPostgres().then(ended)])

  title('2. Tres sistemas que escuchan')
  const accounting = await startListener(shown('contabilidad', () => ({ status: 201, delay: 40 })))
  const warehouse = await startListener(shown('deposito', failsTwice()))
  const portal = await startListener(
    shown('portal', () => ({ status: 403, body: '{"error":"La credencial de este sistema está vencida"}' })),
  )
  for (const listener of [accounting, warehouse, portal]) endings.push(() => listener.close())
  say(`contabilidad  ${accounting.url}  funciona`)
  say(`deposito      ${warehouse.url}  falla las dos primeras veces que recibe cada mensaje`)
  say(`portal        ${portal.url}  rechaza todo (403)`)

  const ini = join(folder, 'resthooks.ini')
  const notice = join(folder, 'avisos.jsonl')
  await writeFile(join(folder, 'avisar.sh'), `#!/bin/sh\n{ cat; echo; } >> '${notice}'\n`, { mode: 0o755 })
  const sections: IniSections = {
    '': { resthooks_activo: 1 },
    workers: { sondeo: '200ms' },
    reintentos: { estrategia: 'lista', esperas: '1s, 2s', jitter: '20%' },
    'listener contabilidad': { url: accounting.url, eventos: 'proveedor.*, compra.*', ruta: 'novedades/{evento}' },
    // Without the circuit breaker, which would rightly leave two such systems in peace for half a minute.
    'listener deposito': {
      url: warehouse.url,
      eventos: 'compra.*',
      metodo: 'PUT',
      ruta: 'compras/{datos.id}',
      corte_porcentaje: 0,
    },
    'listener portal': {
      url: portal.url,
      eventos: 'proveedor.*',
      on_failure: `exec:${join(folder, 'avisar.sh')}`,
      corte_porcentaje: 0,
    },
  }
  await writeFile(ini, iniText(sections))
  await writeFile(
    join(folder, 'instalador.env'),
    envText({
      REST_HOOKS_REDIS_HOST: redis.host,
      REST_HOOKS_REDIS_PORT: String(redis.port),
      REST_HOOKS_DB_HOST: database.host,
      REST_HOOKS_DB_PORT: String(database.port),
      REST_HOOKS_DB_DBNAME: 'postgres',
      REST_HOOKS_DB_USERNAME: database.username,
      REST_HOOKS_DB_PASSWORD: database.password,
    }),
    { mode: 0o600 },
  )
  const environment = { cwd: folder, env: { RESTHOOKS_INI: ini, TOBA_INSTANCIA: INSTANCIA } }

  title('3. El esquema de auditoría y los workers')
  await resthooks(['crear-base'], environment)
  say(colors.bold('$ resthooks iniciar-workers &'))
  const worker = spawnWorker([], environment)
  endings.push(() => stopWorker(worker))

  title('4. Los mensajes, y lo que cada sistema contesta')
  const supplier = await resthooks(['send', 'proveedor.alta', JSON.stringify(SUPPLIER)], environment)
  await writeFile(join(folder, 'compra.json'), JSON.stringify(PURCHASE, null, 2))
  const purchase = await resthooks(['send', 'compra.autorizada', '@compra.json'], environment)
  const batch = await resthooks(['send', '--lote'], { ...environment, input: BATCH }, ' < novedades.jsonl')
  await settled([supplier, purchase, ...batch.split('\n')], database).catch((error) => {
    throw new Error(`${error.message}\n${worker.output}`)
  })

  title('5. Una compra que llegó después de dos reintentos')
  await resthooks(['ver', purchase], environment)
  title('6. Un alta de proveedor que el portal rechazó hasta el final, y el aviso de on_failure')
  await resthooks(['ver', supplier], environment)
  title('7. El resumen')
  await resthooks(['auditoria'], environment)
  await resthooks(['estado'], environment)

  if (withPage || pictures !== undefined) await showPage(sections, ini, environment, worker)

  title('8. SIGTERM: los workers terminan en orden')
  await stopWorker(worker)
  say(`${accounting.requests.length + warehouse.requests.length + portal.requests.length} pedidos HTTP en total.`)
}

/** Until Ctrl-C, or until the pictures are taken. */
async function showPage(sections: IniSections, ini: string, options: CliOptions, worker: Worker) {
  title('   La página, un rato después: veinte sistemas, algunos con problemas')
  const quiet = async (args: readonly string[], input = '') => (await runCli(args, { ...options, input })).stdout
  endings.push(await troubledSystem(sections, ini, quiet, worker))
  const page = await openPage(options)
  endings.push(() => page.stop())
  if (pictures === undefined) {
    say(`${colors.bold('$ resthooks panel')}\nPara entrar, una sola vez: ${page.key()}\nCtrl-C termina.`)
    await new Promise(() => {})
  }
  const { takePictures } = await import('./pictures.ts')
  await takePictures(page, pictures!, quiet)
}

/** Runs a command, showing it and what it prints; gives what it printed on stdout. */
async function resthooks(args: readonly string[], options: CliOptions, redirection = ''): Promise<string> {
  const shownArgs = args.map((arg) =>
    /[^\w@.:/-]/.test(arg) ? `'${arg.length > 70 ? `${arg.slice(0, 70)}…` : arg}'` : arg,
  )
  if (interrupted) throw new Error('interrumpido')
  say(colors.bold(`$ resthooks ${shownArgs.join(' ')}${redirection}`))
  const { stdout, stderr, code } = await runCli(args, options)
  if (stderr.trim()) say(colors.dim(stderr.trimEnd()))
  if (stdout.trim()) say(stdout.trimEnd())
  if (code !== 0) throw new Error(`resthooks ${args[0]} terminó con código ${code}`)
  return stdout.trim()
}

/** Shows each request and its reply as it happens. */
function shown(name: string, script: (request: ReceivedRequest) => Reply) {
  return (request: ReceivedRequest): Reply => {
    const reply = script(request)
    const status = reply.status ?? 200
    const paint = status < 300 ? colors.green : colors.red
    const attempt = `intento ${request.headers['x-resthooks-intento']}`
    say(
      `   ${name.padEnd(13)} ${attempt}  ${paint(status)}  ${request.method} ${request.url}  ${request.headers['x-resthooks-evento']}`,
    )
    return reply
  }
}

/** Down for the first two attempts of every message, as a system that is being restarted. */
function failsTwice() {
  const seen = new Map<unknown, number>()
  return ({ headers }: ReceivedRequest): Reply => {
    const times = (seen.get(headers['webhook-id']) ?? 0) + 1
    seen.set(headers['webhook-id'], times)
    return times <= 2 ? { status: 503, body: 'En mantenimiento' } : { status: 200, body: '{"ok":true}' }
  }
}

/** Waits until every delivery of the messages is final, and every failed one's callback ran. */
async function settled(
  ids: readonly string[],
  server: { host: string; port: number; username: string; password: string },
) {
  const sql = postgres({ ...server, database: 'postgres', max: 1 })
  try {
    await until(
      async () => {
        if (interrupted) return true
        const [count] = await sql`
          SELECT (SELECT count(*)::int FROM resthooks.mensaje WHERE id = ANY(${ids}) AND listeners IS NOT NULL) AS messages,
                 (SELECT count(*)::int FROM resthooks.entrega WHERE estado IN ('pendiente', 'reintentando')) AS open,
                 (SELECT count(*)::int FROM resthooks.entrega WHERE estado = 'fallida') AS failed,
                 (SELECT count(*)::int FROM resthooks.callback WHERE resultado <> 'reintento') AS called`
        return count?.messages === ids.length && count.open === 0 && count.called === count.failed
      },
      { timeout: 40_000, every: 200, what: 'el final de todas las entregas' },
    )
  } finally {
    await sql.end({ timeout: 2 })
  }
}

async function stopWorker(worker: Worker) {
  worker.kill('SIGTERM')
  await worker.waitExit(40_000)
}

async function startRedisOrUseGiven(): Promise<{ host: string; port: number }> {
  const given = givenRedis()
  if (!given) return ended(await startRedis())
  endings.push(async () => {
    const redis = new Redis({ ...given, maxRetriesPerRequest: 1 })
    const keys = await redis.keys(`resthooks:{${INSTANCIA}:*`)
    if (keys.length > 0) await redis.unlink(keys)
    redis.disconnect()
  })
  return given
}

function ended<T extends { stop(): Promise<void> }>(server: T): T {
  endings.push(() => server.stop())
  return server
}

/** Also what is added meanwhile. */
async function end() {
  for (let each = endings.pop(); each; each = endings.pop()) {
    await each().catch((error) => process.stderr.write(`${error}\n`))
  }
}

function title(text: string) {
  say(`\n${colors.cyan(colors.bold(text))}`)
}

function say(text: string) {
  process.stdout.write(`${text}\n`)
}

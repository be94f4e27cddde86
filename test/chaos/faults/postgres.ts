/** Postgres that is not there, dies, hangs, refuses or changes: deliveries go on, and every row arrives in the end. */
import { until } from '../../support/until.ts'
import type { Arena } from '../arena.ts'
import { type Fault, sleep } from './fault.ts'

/** What must hold while Postgres is away: the listeners still get requests. */
async function deliversMeanwhile(arena: Arena): Promise<void> {
  const before = arena.wire.requests.length
  const delivered = () => arena.wire.requests.length > before + 5
  // In a mixture this may begin when all that was sent has been delivered already: then there is nothing to wait for.
  const nothingLeft = async () => {
    const { auditoria: _, ...waiting } = await arena.depths()
    return Object.values(waiting).every((depth) => depth === 0)
  }
  // In a mixture Redis may be away as well, and workers may wait for its leases.
  const patience = { timeout: 45_000, every: 100, what: 'deliveries while Postgres is away' }
  await until(async () => delivered() || (await nothingLeft()), patience)
  if (!delivered()) await arena.traffic.foreign(`mientras${++probes}`, 10, 0)
  await until(delivered, patience)
}

/** A sender's name is one sender's: its order is judged. */
let probes = 0

/** Statements by the suite itself, again until the server is up. */
function insist(arena: Arena, statement: string): Promise<unknown> {
  const run = async () => {
    await arena.sql.unsafe(statement)
    return true
  }
  return until(run, { timeout: 20_000, every: 100, what: statement })
}

/** Ends the program's sessions: those that it opens next begin with the settings of now. */
function disconnect(arena: Arena): Promise<unknown> {
  return insist(arena, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'resthooks'`)
}

/** What deliveries do not need is broken for a while. */
async function broken(arena: Arena, breaks: () => Promise<unknown>, mends: () => Promise<unknown>): Promise<void> {
  await sleep(400)
  await breaks()
  await deliversMeanwhile(arena)
  await sleep(1500)
  await mends()
}

/** Also in a session that is read-only itself. */
async function writable(arena: Arena, statement: string): Promise<void> {
  await arena.sql.begin(async (sql) => {
    await sql.unsafe('SET TRANSACTION READ WRITE')
    await sql.unsafe(statement)
  })
}

export const postgresFaults: readonly Fault[] = [
  {
    name: 'postgres: no está al arrancar',
    mixable: true,
    inflict: async (arena) => {
      await arena.postgres.kill('SIGKILL')
      await arena.stop([...arena.workers])
      arena.start(2)
      await deliversMeanwhile(arena)
      await sleep(1000)
      await arena.postgres.start()
    },
  },
  {
    name: 'postgres: kill -9 y abajo un rato',
    short: true,
    mixable: true,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 900))
      await arena.postgres.kill('SIGKILL')
      await deliversMeanwhile(arena)
      await sleep(arena.dice.between(500, 2500))
      await arena.postgres.start()
    },
  },
  {
    name: 'postgres: kill -9 del servidor y de un worker',
    mixable: true,
    inflict: async (arena) => {
      await sleep(arena.dice.between(300, 900))
      await arena.postgres.kill('SIGKILL')
      await sleep(800)
      await arena.killHard([await arena.anyWorker()])
      arena.start()
      await sleep(500)
      await arena.postgres.start()
    },
  },
  {
    name: 'postgres: pg_terminate_backend en bucle',
    mixable: true,
    inflict: async (arena) => {
      for (let i = 0; i < 30; i++) {
        await insist(
          arena,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'resthooks'`,
        )
        await sleep(100)
      }
    },
  },
  {
    name: 'postgres: tabla bloqueada',
    patience: 90_000,
    inflict: async (arena) => {
      await sleep(500)
      // Longer than the program waits for a lock.
      await arena.sql.begin(async (sql) => {
        await sql.unsafe(`LOCK TABLE ${arena.schema}.entrega IN ACCESS EXCLUSIVE MODE`)
        await deliversMeanwhile(arena)
        await sleep(12_000)
      })
    },
  },
  {
    name: 'postgres: SIGSTOP',
    patience: 90_000,
    inflict: async (arena) => {
      await sleep(500)
      const freeze = async (signal: NodeJS.Signals) => {
        const backends = await pidsOf(await arena.postgres.pid())
        for (const pid of backends) process.kill(pid, signal)
      }
      await freeze('SIGSTOP')
      await deliversMeanwhile(arena)
      await sleep(5000)
      await freeze('SIGCONT')
    },
  },
  {
    name: 'postgres: sólo lectura',
    inflict: async (arena) => {
      const breaks = () => insist(arena, `ALTER DATABASE postgres SET default_transaction_read_only = on`)
      const mends = () => writable(arena, `ALTER DATABASE postgres SET default_transaction_read_only = off`)
      await broken(
        arena,
        () => breaks().then(() => disconnect(arena)),
        () => mends().then(() => disconnect(arena)),
      )
    },
  },
  {
    name: 'postgres: rol de sólo lectura, y de vuelta sin cortar nada',
    inflict: (arena) =>
      broken(
        arena,
        () =>
          writable(arena, `ALTER ROLE postgres SET default_transaction_read_only = on`).then(() => disconnect(arena)),
        // Sessions that began read-only stay so: whoever holds one must open another.
        () => writable(arena, `ALTER ROLE postgres RESET default_transaction_read_only`),
      ),
  },
  {
    name: 'postgres: un cortafuegos olvida las conexiones',
    arena: { through: 'postgres' },
    inflict: async (arena) => {
      await sleep(500)
      arena.proxy.swallow()
      await deliversMeanwhile(arena)
      const written = async () => (await arena.client.xlen(arena.keys.audit)) === 0
      await until(written, { timeout: 30_000, every: 100, what: 'the audit over new connections' })
    },
  },
  {
    name: 'postgres: disco lleno (53100)',
    mixable: true,
    inflict: (arena) =>
      broken(
        arena,
        () =>
          insist(
            arena,
            `CREATE FUNCTION ${arena.schema}.lleno() RETURNS trigger LANGUAGE plpgsql AS
              $$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$;
             CREATE TRIGGER lleno BEFORE INSERT ON ${arena.schema}.entrega EXECUTE FUNCTION ${arena.schema}.lleno()`,
          ),
        () => insist(arena, `DROP FUNCTION ${arena.schema}.lleno() CASCADE`),
      ),
  },
  {
    name: 'postgres: filas que la base no acepta',
    // Some rows are refused for their content: they are set aside, whole, and the rest goes on.
    inflict: async (arena) => {
      await insist(arena, `ALTER TABLE ${arena.schema}.callback ADD CONSTRAINT prueba CHECK (detalle NOT LIKE '%a%')`)
    },
    verify: async (arena) => {
      const s = arena.sql(arena.schema)
      const [{ failed, kept, aside }] = (await arena.sql`
        SELECT (SELECT count(*)::int FROM ${s}.entrega WHERE estado = 'fallida') AS failed,
               (SELECT count(*)::int FROM ${s}.callback) AS kept,
               (SELECT count(*)::int FROM ${s}.auditoria_rechazada WHERE evento_json LIKE '%callback%') AS aside`) as [
        { failed: number; kept: number; aside: number },
      ]
      await arena.sql`DELETE FROM ${s}.auditoria_rechazada`
      if (aside === 0) return ['nothing was refused: the fault did not happen']
      return kept + aside === failed ? [] : [`${failed} callbacks, ${kept} written, ${aside} set aside`]
    },
    rules: { except: ['tropieza'] },
  },
  {
    name: 'postgres: esquema más viejo que el programa',
    inflict: (arena) =>
      broken(
        arena,
        () => insist(arena, `ALTER TABLE ${arena.schema}.mensaje RENAME COLUMN profundidad TO otra`),
        () => insist(arena, `ALTER TABLE ${arena.schema}.mensaje RENAME COLUMN otra TO profundidad`),
      ),
  },
  {
    name: 'postgres: esquema más nuevo que el programa',
    inflict: async (arena) => {
      await insist(
        arena,
        `INSERT INTO ${arena.schema}.migracion (version, nombre) VALUES (999, '999_futura');
         ALTER TABLE ${arena.schema}.entrega ADD COLUMN futura text`,
      )
      await sleep(1500)
      const { code, stderr } = await arena.cli(['crear-base'])
      if (code !== 3) throw new Error(`crear-base on a newer schema exited ${code}, not 3: ${stderr}`)
    },
  },
  {
    name: 'postgres: esquema borrado y vuelto a crear',
    traffic: { messages: 0 },
    inflict: async (arena) => {
      await insist(arena, `DROP SCHEMA ${arena.schema} CASCADE`)
      // Meanwhile messages come and are delivered: their audit waits for the schema.
      const sending = arena.traffic.run({ messages: 200, over: 2000 })
      await deliversMeanwhile(arena)
      await sleep(1500)
      await arena.createSchema()
      await sending
    },
  },
]

/** The postmaster and its children. */
async function pidsOf(postmaster: number): Promise<number[]> {
  const { readFile, readdir } = await import('node:fs/promises')
  const pids = [postmaster]
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '')
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === postmaster) pids.push(Number(entry))
  }
  return pids
}

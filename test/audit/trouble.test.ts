/** Each trouble with Postgres has its own words, says what to do, and never hangs. */
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openDatabase } from '../../src/audit/database.ts'
import { migrate } from '../../src/audit/migrate.ts'
import { openAuditQueries } from '../../src/audit/queries.ts'
import { postgresTrouble } from '../../src/audit/trouble.ts'
import type { AuditConfig } from '../../src/config/config.ts'
import { freePort } from '../support/ports.ts'
import { type PostgresServer, startPostgres } from '../support/postgres-server.ts'
import { startProxy, type TcpProxy } from '../support/proxy.ts'
import { startSilent } from '../support/silent-server.ts'
import { until } from '../support/until.ts'
import { auditConfig, closedBackends, createDatabase, message, messageEvent, SCOPE, withSql } from './scenery.ts'

const event = () => messageEvent(message(), ['a'])
const backendOf = closedBackends()

describe('what is wrong with the configuration is a ConfigError', () => {
  test.each([
    ['a wrong password', { password: 'otra' }, /clave del usuario «postgres».*REST_HOOKS_DB_PASSWORD/],
    ['no password', { password: null }, /clave|identificación/],
    ['an unknown user', { username: 'nadie' }, /usuario «nadie»/],
    ['an unknown database', { database: 'no_esta' }, /base «no_esta» no existe/],
    ['no schema', {}, /esquema «resthooks_.*crear-base/],
    ['TLS demanded of a server without', { sslmode: 'require' }, /no ofrece SSL y sslmode=require/],
    ['a verified server without TLS', { sslmode: 'verify-full' }, /no ofrece SSL/],
  ] as const)('%s', async (_, changes, words) => {
    const error = { code: 'CONFIGURACION', message: expect.stringMatching(words) }
    const config = auditConfig(changes)
    await expect(backendOf(config).write([event()])).rejects.toMatchObject(error)
    const reader = openAuditQueries(config, SCOPE)
    await expect(reader.pendingCounts()).rejects.toMatchObject(error)
    await reader.close()
  })

  test('a role that may not make the schema', async () => {
    const config = auditConfig()
    const username = `sin_${config.schema}`
    await withSql(config, (sql) => sql.unsafe(`CREATE ROLE ${username} LOGIN PASSWORD 'clave'`))
    await expect(migrate({ ...config, username, password: 'clave' })).rejects.toMatchObject({
      code: 'CONFIGURACION',
      message: expect.stringMatching(
        /no puede crear el esquema .*GRANT CREATE ON DATABASE "postgres" TO "sin_.*--mostrar-sql/,
      ),
    })
  })

  test('a role without rights on the tables', async () => {
    const config = auditConfig()
    await migrate(config)
    const username = `rol_${config.schema}`
    await withSql(config, (sql) =>
      sql.unsafe(
        `CREATE ROLE ${username} LOGIN PASSWORD 'clave'; GRANT USAGE ON SCHEMA ${config.schema} TO ${username}`,
      ),
    )
    await expect(backendOf({ ...config, username, password: 'clave' }).write([event()])).rejects.toMatchObject({
      code: 'CONFIGURACION',
      message: expect.stringMatching(/faltan permisos.*GRANT/),
    })
    await withSql(config, (sql) =>
      sql.unsafe(`DROP OWNED BY ${username}; DROP ROLE ${username}; DROP SCHEMA ${config.schema} CASCADE`),
    )
  })

  test('a schema without a column that this program writes', async () => {
    const config = auditConfig()
    await migrate(config)
    await withSql(config, (sql) => sql.unsafe('ALTER TABLE mensaje DROP COLUMN profundidad'))
    await expect(backendOf(config).write([event()])).rejects.toMatchObject({
      code: 'CONFIGURACION',
      message: expect.stringMatching(/otra versión.*crear-base/),
    })
    await withSql(config, (sql) => sql.unsafe(`DROP SCHEMA ${config.schema} CASCADE`))
  })
})

describe('what may pass by itself is Unavailable', () => {
  test('nobody listens', async () => {
    await expect(backendOf(auditConfig({ port: await freePort() })).write([event()])).rejects.toMatchObject({
      code: 'NO_DISPONIBLE',
      message: expect.stringMatching(/nadie atiende/),
    })
  })

  test('a host that has no address', async () => {
    await expect(backendOf(auditConfig({ host: 'no-existe.invalid' })).write([event()])).rejects.toMatchObject({
      code: 'NO_DISPONIBLE',
      message: expect.stringMatching(/no-existe\.invalid.*no se resuelve/),
    })
  })

  test('a database that is read-only for a while: said while it lasts, by the health too, and written to afterwards', async () => {
    const { config, drop } = await createDatabase('UTF8')
    await migrate(config)
    const [backend, reader] = [backendOf(config), openAuditQueries(config, SCOPE)]
    const batch = [event()]
    await backend.write([event()])
    await reader.tryWrite()
    const admin = (statement: string) => withSql(auditConfig(), (sql) => sql.unsafe(statement))
    await admin(`ALTER DATABASE ${config.database} SET default_transaction_read_only = on`)
    await admin(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${config.database}'`)
    const refused = { code: 'NO_DISPONIBLE', message: expect.stringMatching(/solo lectura/) }
    await backend.write(batch).catch(() => {})
    await reader.tryWrite().catch(() => {})
    await expect(backend.write(batch)).rejects.toMatchObject(refused)
    await expect(reader.tryWrite()).rejects.toMatchObject(refused)
    expect(await reader.health()).toMatchObject({ encoding: 'UTF8', readOnly: true })

    await admin(`ALTER DATABASE ${config.database} RESET default_transaction_read_only`)
    await backend.write(batch)
    await reader.tryWrite()
    expect(await reader.health()).toMatchObject({ readOnly: false })
    await reader.close()
    await drop()
  })

  test.each([
    ['40P01', /no puede atender/],
    ['53100', /disco.*lleno/],
    ['53300', /no acepta más conexiones/],
    ['55P03', /bloqueada/],
    ['57014', /tardó demasiado/],
    ['57P03', /iniciando o deteniendo/],
    ['58030', /no puede atender/],
  ])('SQLSTATE %s', (code, words) => {
    const error = Object.assign(new Error('lo que dijo'), { name: 'PostgresError', code })
    expect(postgresTrouble(error, auditConfig())).toMatchObject({
      code: 'NO_DISPONIBLE',
      message: expect.stringMatching(words),
      cause: error,
    })
  })

  test('an error that nobody foresaw keeps its words and its cause', () => {
    const error = Object.assign(new Error('rareza'), { name: 'PostgresError', code: 'XX000' })
    expect(postgresTrouble(error, auditConfig())).toMatchObject({ code: 'FALLO', cause: error })
    expect(postgresTrouble(error, auditConfig()).message).toContain('rareza (XX000)')
    // A session that was not let begin, as with a full disk, may be another time.
    expect(postgresTrouble(Object.assign(error, { severity: 'FATAL' }), auditConfig()).code).toBe('NO_DISPONIBLE')
    const ours = postgresTrouble(error, auditConfig())
    expect(postgresTrouble(ours, auditConfig())).toBe(ours)
  })
})

describe('settings that an old application left on its database', () => {
  test('do not change what is written or read', async () => {
    const { config, drop } = await createDatabase('LATIN1')
    await withSql(config, (sql) =>
      sql.unsafe(
        [
          `SET bytea_output = 'escape'`,
          `SET DateStyle = 'SQL, DMY'`,
          `SET TimeZone = 'America/Argentina/Buenos_Aires'`,
          `SET client_encoding = 'LATIN1'`,
          `SET standard_conforming_strings = off`,
          `SET search_path = nada`,
          `SET default_transaction_isolation = 'serializable'`,
        ]
          .map((setting) => `ALTER DATABASE ${config.database} ${setting}`)
          .join(';'),
      ),
    )
    await migrate(config)
    const backend = backendOf(config)
    const sent = messageEvent(message({ body: Buffer.from([0, 92, 255]), origin: 'ñ\\' }), ['a'])
    await backend.write([sent])
    await backend.ensurePartitions()
    const reader = openAuditQueries(config, SCOPE)
    expect(await reader.message(sent.message.id)).toMatchObject({
      message: { cuerpo: sent.message.body, origen: 'ñ\\', recibido: new Date(sent.receivedAt) },
    })
    await reader.close()
    expect(
      await withSql(config, (sql) =>
        sql.unsafe(`SELECT ${config.schema}.texto(cuerpo) AS t FROM ${config.schema}.mensaje`),
      ),
    ).toMatchObject([{ t: '(binario, 3 bytes)' }])
    await drop()
  })
})

describe('a server that comes and goes', () => {
  let server: PostgresServer
  let config: AuditConfig

  beforeAll(async () => {
    server = await startPostgres()
    config = auditConfig({ port: server.port })
    await migrate(config)
  })
  afterAll(() => server.stop())

  const count = () => withSql(config, async (sql) => Number((await sql`SELECT count(*) FROM mensaje`)[0]!.count))

  test('killed between two batches: the next one says so, and works when the server is back', async () => {
    const backend = backendOf(config)
    await backend.write([event()])
    const before = await count()
    await server.kill()
    await expect(backend.write([event()])).rejects.toMatchObject({ code: 'NO_DISPONIBLE' })
    await expect(backend.write([event()])).rejects.toMatchObject({ code: 'NO_DISPONIBLE' })
    await server.start()
    const batch = [event()]
    await until(() => backend.write(batch).then(() => true))
    await backend.write(batch)
    expect(await count()).toBe(before + 1)
  })

  test('killed while many write: every batch ends one way or the other, and repeating them writes each row once', async () => {
    const before = await count()
    const writers = Array.from({ length: 3 }, () => backendOf(config))
    const batches = writers.map(() => Array.from({ length: 20 }, () => Array.from({ length: 50 }, event)))
    const write = (n: number) => batches[n]!.map((batch) => () => writers[n]!.write(batch))
    const outcomes = Promise.all(
      writers.map(async (_, n) => {
        const results: string[] = []
        for (const step of write(n))
          results.push(
            await step().then(
              () => 'ok',
              (error) => error.code,
            ),
          )
        return results
      }),
    )
    await until(async () => (await count()) > before)
    await server.kill()
    const results = (await outcomes).flat()
    expect(new Set(results)).toEqual(new Set(['ok', 'NO_DISPONIBLE']))
    await server.start()
    await until(() =>
      writers[0]!
        .write([])
        .then(() => count())
        .then(() => true),
    )
    for (let n = 0; n < writers.length; n++) for (const step of write(n)) await until(() => step().then(() => true))
    expect(await count()).toBe(before + 3_000)
  })

  test('frozen: the query is given up, closing is quick, and all goes on when it thaws', async () => {
    const database = openDatabase(config, null, { connections: 1, statement: 300 })
    await database.transaction((session) => session.query('SELECT 1'))
    // Every process of it: the backend is a child of the postmaster.
    const signal = async (name: string) => {
      const postmaster = await server.pid()
      const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8')
      for (const pid of [postmaster, ...children.split(' ').filter(Boolean).map(Number)]) process.kill(pid, name)
    }
    await signal('SIGSTOP')
    try {
      await expect(database.transaction((session) => session.query('SELECT 1'))).rejects.toMatchObject({
        code: 'DEADLINE',
      })
      const started = Date.now()
      await database.close()
      expect(Date.now() - started).toBeLessThan(3_000)
    } finally {
      await signal('SIGCONT')
    }
    await backendOf(config).write([event()])
  })

  // AuthenticationOk and ReadyForQuery.
  const greeting = Buffer.from('R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I', 'latin1')
  test.each([
    ['from the start, sslmode=prefer', 'prefer', null],
    ['from the start, sslmode=disable', 'disable', null],
    ['once it let one in', 'disable', greeting],
  ] as const)('one that is silent %s: told within the time, and not as unreachable', async (_, sslmode, greets) => {
    const hung = await startSilent(greets)
    const away = auditConfig({ port: hung.port, sslmode })
    const database = openDatabase(away, null, { connections: 1, connect: 200 })
    const lost = await database.transaction((session) => session.query('SELECT 1')).catch((error) => error)
    await database.close()
    await hung.close()
    expect(postgresTrouble(lost, away)).toMatchObject({
      code: 'NO_DISPONIBLE',
      message: expect.stringMatching(/no respondió a tiempo \(acepta la conexión y no contesta: más de 200 ms\)/),
    })
  })

  test('a statement beyond its limit is cancelled by the server, and the connection goes on', async () => {
    const database = openDatabase(config, null, { connections: 1, statement: 100 })
    const slow = database.transaction((session) => session.query('SELECT pg_sleep(5)'))
    await expect(slow).rejects.toMatchObject({ code: '57014' })
    expect(await database.transaction((session) => session.query('SELECT 1 AS one'))).toEqual([{ one: 1 }])
    await database.close()
  })
})

describe('a network that swallows connections without a word', () => {
  let proxy: TcpProxy
  const config = auditConfig()
  const limits = { connections: 2, patience: 500 }

  beforeAll(async () => {
    await migrate(config)
    proxy = await startProxy(config)
  })
  afterAll(async () => {
    await proxy.close()
    await withSql(config, (sql) => sql.unsafe(`DROP SCHEMA ${config.schema} CASCADE`))
  })

  test('the idle ones: one transaction fails soon, and the next one has a new connection, however many were idle', async () => {
    const database = openDatabase({ ...config, port: proxy.port }, null, limits)
    const ask = () => database.transaction((session) => session.query('SELECT 1 AS one'))
    await Promise.all([ask(), ask()])
    await until(() => proxy.passing() === 2)
    proxy.swallow()
    const started = Date.now()
    await expect(ask()).rejects.toMatchObject({ code: 'DEADLINE' })
    expect(await ask()).toEqual([{ one: 1 }])
    expect(Date.now() - started).toBeLessThan(10_000)
    await database.close()
  })

  test('one in the middle of a transaction: what it had locked is free when the same rows are written again', async () => {
    const database = openDatabase({ ...config, port: proxy.port }, null, limits)
    const insert = `INSERT INTO ${config.schema}.migracion (version, nombre) VALUES (1000, 'x')`
    const write = (then: () => void) =>
      database.transaction(async (session) => {
        await session.query(insert)
        then()
        await session.query('SELECT 1')
      })
    await expect(write(() => proxy.swallow())).rejects.toMatchObject({ code: 'DEADLINE' })
    const started = Date.now()
    // It waits for the lock longer than its own patience: which grows, as a slow server is not a dead one.
    await until(() => write(() => {}).then(() => true))
    expect(Date.now() - started).toBeLessThan(10_000)
    await database.close()
  })

  test('a slow server is not taken for a dead one for ever', async () => {
    const database = openDatabase(config, null, { ...limits, patience: 50 })
    const slow = () => database.transaction((session) => session.query('SELECT pg_sleep(0.3)'))
    await expect(slow()).rejects.toMatchObject({ code: 'DEADLINE' })
    await until(() => slow().then(() => true))
    await database.close()
  })
})

describe('a peer that is no Postgres', () => {
  let stranger: Server | undefined
  afterEach(() => new Promise((resolve) => (stranger ? stranger.close(resolve) : resolve(undefined))))

  test('accepts and never answers: given up in time, and the line is not held', async () => {
    let open = 0
    stranger = createServer((socket) => {
      open++
      socket.on('error', () => {}).on('close', () => open--)
      socket.resume()
    }).listen(0, '127.0.0.1')
    await until(() => stranger!.listening)
    const { port } = stranger!.address() as { port: number }
    const databases = (['disable', 'require'] as const).map((sslmode) =>
      openDatabase(auditConfig({ port, sslmode }), null, { connections: 1, statement: 100 }),
    )
    const asked = databases.map((each) => each.transaction((session) => session.query('SELECT 1')))
    await Promise.all(asked.map((each) => expect(each).rejects.toMatchObject({ code: 'DEADLINE' })))
    await until(() => open === 0)
    await Promise.all(databases.map((each) => each.close()))
  })

  test('closes at once', async () => {
    stranger = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
    await until(() => stranger!.listening)
    const { port } = stranger!.address() as { port: number }
    for (const sslmode of ['disable', 'prefer', 'require'] as const) {
      await expect(backendOf(auditConfig({ port, sslmode })).write([event()])).rejects.toMatchObject({
        code: 'NO_DISPONIBLE',
      })
    }
  })
})

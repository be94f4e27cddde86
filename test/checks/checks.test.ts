/** The judgements of `verificar`, as tables of cases. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { canRead } from '../../src/checks/accounts.ts'
import { checkDrain, checkExposure, checkLease } from '../../src/checks/configuration.ts'
import { checkClock } from '../../src/checks/finding.ts'
import { checkTls } from '../../src/checks/listeners.ts'
import { checkPostgres, type PostgresFacts } from '../../src/checks/postgres.ts'
import { checkLoaded, checkQueue, whyInvalid } from '../../src/checks/queue.ts'
import { checkRedis, parseInfo } from '../../src/checks/redis.ts'
import { checkProgram, checkSupervisord } from '../../src/checks/supervisord.ts'
import { checkUnits, findUnits } from '../../src/checks/systemd.ts'
import type { ConfigFiles, ListenerConfig, RedisConfig, WorkersConfig } from '../../src/config/config.ts'

const GOOD_INFO = `# Server
redis_version:7.0.15
redis_mode:standalone
role:master
connected_slaves:0
aof_enabled:1
aof_last_write_status:ok
maxmemory:0
maxmemory_policy:noeviction
used_memory:1000000
total_system_memory:8000000000
`

function redisWith(
  changes: Record<string, string>,
  rest: { fsync?: string | null; skew?: number; sentinels?: number; open?: boolean } = {},
) {
  const info = new Map([...parseInfo(GOOD_INFO), ...Object.entries(changes)])
  return checkRedis({ info, fsync: 'everysec', skew: 0, sentinels: 0, open: false, ...rest })
}

const worst = (findings: readonly { verificacion: string; resultado: string }[]) =>
  findings
    .filter(({ resultado }) => resultado !== 'ok')
    .map(({ verificacion, resultado }) => `${verificacion} ${resultado}`)

describe('Redis', () => {
  test.each([
    ['a sound one', {}, {}, []],
    ['too old', { redis_version: '6.0.16' }, {}, ['versión error']],
    ['just new enough', { redis_version: '6.2.0' }, {}, []],
    ['Valkey', { redis_version: '7.2.4', valkey_version: '8.0.1' }, {}, []],
    ['one that asks for no password', {}, { open: true }, ['clave aviso']],
    ['a replica', { role: 'slave', master_host: 'otro' }, {}, ['papel error']],
    ['a cluster', { redis_mode: 'cluster' }, {}, ['papel error']],
    ['Sentinel without a majority', {}, { sentinels: 2 }, ['papel aviso']],
    ['Sentinel without a replica', {}, { sentinels: 3 }, ['papel aviso']],
    ['no AOF', { aof_enabled: '0' }, {}, ['persistencia error']],
    ['AOF that never syncs', {}, { fsync: 'no' }, ['persistencia aviso']],
    ['AOF whose policy is hidden', {}, { fsync: null }, ['persistencia aviso']],
    ['a disk that failed', { aof_last_write_status: 'err' }, {}, ['disco error']],
    ['eviction of anything', { maxmemory: '2000000', maxmemory_policy: 'allkeys-lru' }, {}, ['maxmemory-policy error']],
    ['eviction without a limit', { maxmemory_policy: 'allkeys-lru' }, {}, ['maxmemory-policy aviso']],
    ['eviction that happened', { maxmemory_policy: 'allkeys-lfu', evicted_keys: '3' }, {}, ['maxmemory-policy error']],
    [
      'eviction of what expires',
      { maxmemory: '2000000', maxmemory_policy: 'volatile-ttl' },
      {},
      ['maxmemory-policy aviso'],
    ],
    ['little memory left', { maxmemory: '1100000' }, {}, ['memoria aviso']],
    ['a clock that is off', {}, { skew: -10_000 }, ['reloj de Redis aviso']],
  ])('%s', (_, changes, rest, expected) => {
    expect(worst(redisWith(changes as Record<string, string>, rest))).toEqual(expected)
  })
})

describe('Postgres', () => {
  const health: PostgresFacts['health'] = {
    version: '16.4',
    versionNumber: 160_004,
    encoding: 'UTF8',
    readOnly: false,
    now: 0,
    user: 'yo',
    schemaVersion: 3,
    missingRights: [],
    openFunctions: [],
    missingPartitions: [],
    strayRows: false,
  }
  const facts: PostgresFacts = { health, latest: 3, rejected: 0, skew: 0 }

  test('who has to be given rights is named', () => {
    for (const changes of [{ missingRights: ['INSERT entrega'] }, { schemaVersion: null }]) {
      const findings = checkPostgres({ ...facts, health: { ...health, ...changes, user: 'siu lector' } })
      expect(JSON.stringify(findings)).toContain("crear-base --rol 'siu lector'")
    }
  })

  test.each<[string, Partial<PostgresFacts['health']>, Partial<PostgresFacts>, string[]]>([
    ['a sound one', {}, {}, []],
    ['too old', { versionNumber: 110_022 }, {}, ['versión error']],
    ['LATIN1', { encoding: 'LATIN1' }, {}, []],
    ['an encoding not known here', { encoding: 'WIN1252' }, {}, ['codificación aviso']],
    ['a standby', { readOnly: true }, {}, ['escritura error']],
    ['no schema', { schemaVersion: 0 }, { rejected: null }, ['esquema error']],
    ['an older schema', { schemaVersion: 2 }, {}, ['esquema error']],
    ['a newer schema', { schemaVersion: 9 }, {}, ['esquema error']],
    ['no right to write', { missingRights: ['INSERT entrega'] }, {}, ['permisos error']],
    ['no right to purge', { missingRights: ['DELETE entrega', 'EXECUTE purgar_particion'] }, {}, ['permisos aviso']],
    ['no right to replace an attempt', { missingRights: ['DELETE intento'] }, {}, ['permisos error']],
    ['no right to make partitions', { missingRights: ['EXECUTE crear_particiones'] }, {}, ['permisos error']],
    [
      'a role that may not even enter',
      { schemaVersion: null, missingRights: ['USAGE esquema'] },
      { rejected: null },
      ['esquema aviso', 'permisos error'],
    ],
    ['functions that everybody may run', { openFunctions: ['x.purgar_particion()'] }, {}, ['funciones abiertas error']],
    ['partitions missing', { missingPartitions: ['mensaje_2026_12'] }, {}, ['particiones aviso']],
    ['rows outside the months', { strayRows: true }, {}, ['particiones aviso']],
    ['refused rows', {}, { rejected: 2 }, ['auditoria_rechazada aviso']],
    ['a clock far off', {}, { skew: 600_000 }, ['reloj de Postgres error']],
  ])('%s', (_, changes, rest, expected) => {
    expect(worst(checkPostgres({ ...facts, ...rest, health: { ...health, ...changes } }))).toEqual(expected)
  })
})

test.each([
  [0, 'ok'],
  [-1_999, 'ok'],
  [2_000, 'aviso'],
  [-299_000, 'aviso'],
  [300_000, 'error'],
])('a clock %i ms away: %s', (skew, expected) => {
  expect(checkClock('reloj', skew).resultado).toBe(expected)
})

test.each([
  [30_000, 1_000, 'ok'],
  [10_000, 3_000, 'ok'],
  [10_000, 4_000, 'aviso'],
  [5_000, 100, 'aviso'],
  [600_000, 1_000, 'aviso'],
])('a lease of %i ms with a poll of %i ms: %s', (lease, poll, expected) => {
  expect(checkLease({ workers: { lease, poll } as never }).resultado).toBe(expected)
})

test('a drain shorter than a request may take names the listener', () => {
  const listeners = new Map([
    ['rapido', { name: 'rapido', active: true, totalTimeout: 30_000 }],
    ['lento', { name: 'lento', active: true, totalTimeout: 60_000 }],
    ['apagado', { name: 'apagado', active: false, totalTimeout: 90_000 }],
  ]) as never
  const finding = checkDrain({ workers: { drain: 30_000 } as never, listeners })
  expect(finding).toMatchObject({ resultado: 'aviso', detalle: expect.stringContaining('lento (1m)') })
  expect(finding.detalle).not.toMatch(/rapido|apagado/)
})

test.each([
  [-1, 'error'],
  [0, 'aviso'],
  [29, 'aviso'],
  [30, 'ok'],
])('a certificate with %i days left: %s', (daysLeft, expected) => {
  const certificate = { subject: 'CN=x', issuer: '', names: [], validFrom: new Date(0), validTo: new Date(), daysLeft }
  const findings = checkTls({ protocol: 'TLSv1.3', cipher: null, certificate, problem: null }, 'x')
  expect(findings.at(-1)).toMatchObject({ verificacion: 'certificado', resultado: expected })
})

test.each<[Record<string, string>, string[]]>([
  [{}, ['stopwaitsecs aviso']],
  [{ stopwaitsecs: '37' }, ['stopwaitsecs aviso']],
  [{ stopwaitsecs: '38' }, []],
  [{ stopwaitsecs: 'mucho' }, ['stopwaitsecs aviso']],
  [{ stopwaitsecs: '60', stopsignal: 'QUIT' }, ['stopsignal aviso']],
  [{ stopwaitsecs: '60', stopsignal: 'SIGINT', stopasgroup: 'false' }, []],
])('supervisord with %o', (settings, expected) => {
  const program = { name: 'rh', file: 'f', settings: new Map(Object.entries(settings)) }
  expect(worst(checkProgram(program, { drain: 30_000 }))).toEqual(expected)
})

test.each([
  ['nada', 'no es JSON'],
  ['{"datos":1}', 'falta "evento"'],
  ['{"evento":"x","id":"7"}', 'su id era el de otro'],
])('why %s was set aside', (raw, expected) => {
  expect(whyInvalid({ size: raw.length, raw: Buffer.from(raw) })).toContain(expected)
})

test.each([
  ['all alike', [{}, {}], { configuracion: 'a' }, []],
  ['a version before this one, which says nothing', [{}, { configuracion: undefined }], null, []],
  ['another version: the same files may mean something else', [{}, { version: '2', configuracion: 'b' }], null, []],
  ['two that differ', [{}, { configuracion: 'b' }, {}], null, [/no todos tienen la misma \(w0, w2; otra: w1\)/]],
  [
    'all unlike the files at hand',
    [{}, {}],
    { configuracion: 'c' },
    [/w0, w1 trabaja con otra que la de estos archivos/],
  ],
  [
    'one that was refused',
    [{ configuracion_rechazada: { motivo: 'dos\n  líneas', desde: 0 } }, {}],
    { configuracion: 'c' },
    [/w0 sigue con la configuración anterior: .* \(desde \d\d\/\d\d\/19(69|70) \d\d:\d\d:00\)\. dos líneas/],
  ],
])("workers' configuration: %s", (_, workers, here, told) => {
  const loaded = workers.map((worker, n) => ({ worker: `w${n}`, version: '1', configuracion: 'a', ...worker }))
  const findings = checkLoaded(loaded as Parameters<typeof checkLoaded>[0], here && { version: '1', ...here })
  expect(findings.map(({ resultado }) => resultado)).toEqual(told.map(() => 'aviso'))
  for (const [n, text] of told.entries()) expect(findings[n]!.detalle).toMatch(text)
})

describe('exposure', () => {
  const folder = mkdtempSync(join(tmpdir(), 'resthooks-expuesto-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const file = (name: string, mode: number, folderMode = 0o755) => {
    const path = join(folder, name, 'archivo')
    mkdirSync(dirname(path))
    writeFileSync(path, '')
    chmodSync(path, mode)
    chmodSync(dirname(path), folderMode)
    return path
  }
  const redis = (host: string, password: string | null = null, sentinels: string[] = []) =>
    ({ host, password, sentinels: sentinels.map((name) => ({ host: name, port: 1 })) }) as unknown as RedisConfig
  const found = (watched: string[], argv: string[], server = redis('127.0.0.1'), environment = {}) => {
    const onFailure = { kind: 'exec', argv, shown: '' } as const
    const listeners = new Map([['a', { onSuccess: null, onFailure } as unknown as ListenerConfig]])
    return worst(checkExposure({ files: { watched } as unknown as ConfigFiles, listeners, redis: server }, environment))
  }

  test.each([
    ['a private file', 0o600, 0o755, []],
    ['one that all may read', 0o644, 0o755, []],
    ['one that all may write', 0o646, 0o755, ['archivos aviso', 'exec aviso']],
    ['one in a folder that all may write', 0o600, 0o777, ['archivos aviso', 'exec aviso']],
    ['one in a sticky folder', 0o600, 0o1777, []],
  ])('%s', (name, mode, folderMode, expected) => {
    const path = file(name, mode, folderMode)
    expect(found([path], ['/bin/sh', path])).toEqual(expected)
  })

  test.each([
    ['here', redis('127.0.0.1'), []],
    ['here by name', redis('localhost'), []],
    ['here over IPv6', redis('::1'), []],
    ['elsewhere', redis('redis.example'), ['clave de Redis aviso']],
    ['elsewhere with a password', redis('10.0.0.1', 'una-clave'), []],
    ['behind Sentinels elsewhere', redis('127.0.0.1', null, ['127.0.0.1', '10.0.0.1']), ['clave de Redis aviso']],
  ])('a Redis %s', (_where, server, expected) => expect(found([], [], server)).toEqual(expected))

  test('TLS that nobody checks', () => {
    const name = 'NODE_TLS_REJECT_UNAUTHORIZED'
    expect(found([], [], redis('localhost'), { [name]: '0' })).toEqual([`${name} error`])
    expect(found([], [], redis('localhost'), { [name]: '1' })).toEqual([])
  })
})

const NAMES = { instancia: 'produccion', proyecto: 'pilaga' }
const filesOf = (watched: readonly string[]) => ({ watched }) as unknown as ConfigFiles

describe('the user whom supervisord gives the workers to', () => {
  test('must be able to read the files, and to enter the folders on the way to them', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'usuario-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const file = join(folder, 'instalador.env')
    await writeFile(file, '')
    const [stranger, companion] = [
      { uid: 4_000_000, gids: [4_000_000] },
      { uid: 4_000_000, gids: [process.getgid!()] },
    ]
    const cases: [number, number, boolean, boolean][] = [
      [0o755, 0o644, true, true],
      [0o755, 0o640, false, true],
      [0o755, 0o600, false, false],
      [0o750, 0o644, false, true],
      [0o700, 0o644, false, false],
    ]
    for (const [ofFolder, ofFile, first, second] of cases) {
      await chmod(folder, ofFolder)
      await chmod(file, ofFile)
      expect([canRead(stranger, file), canRead(companion, file)], `${ofFolder} ${ofFile}`).toEqual([first, second])
    }
    expect(canRead(stranger, join(folder, 'ninguno'))).toBe(false)
    expect(canRead({ uid: 0, gids: [0] }, join(folder, 'ninguno'))).toBe(true)
  })

  test('is named with what it cannot read, or told to be nobody', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'usuario-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const [conf, env] = [join(folder, 'supervisord.conf'), join(folder, 'instalador.env')]
    await writeFile(env, '', { mode: 0o600 })
    const config = { ...NAMES, workers: { drain: 30_000 } as WorkersConfig, files: filesOf([env]) }
    const finding = async (user: string) => {
      await writeFile(conf, `[program:x]\ncommand=resthooks iniciar-workers\nstopwaitsecs=60\nuser=${user}\n`)
      return checkSupervisord(config, conf).find(({ verificacion }) => verificacion === 'user')
    }
    expect(await finding('nobody')).toMatchObject({ resultado: 'error', detalle: expect.stringContaining(env) })
    expect(await finding('no-existe-tal')).toMatchObject({
      resultado: 'error',
      detalle: expect.stringContaining('no existe'),
    })
    expect(await finding(userInfo().username)).toMatchObject({ resultado: 'ok' })
  })

  test('is looked at in a unit of systemd too, with what is added to it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'unidades-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const [local, vendor, env] = [join(folder, 'etc'), join(folder, 'lib'), join(folder, 'instalador.env')]
    const addition = join(local, 'resthooks-pilaga.service.d')
    for (const each of [local, vendor, addition]) mkdirSync(each)
    await chmod(folder, 0o755)
    await writeFile(env, '', { mode: 0o600 })
    const unit = (user: string, words = '-p pilaga') =>
      `[Unit]\nDescription=x\n[Service]\n# x\nEnvironment="A=1"\nEnvironment="TOBA_INSTANCIA=produccion"\nUser=${user}\n` +
      `ExecStart="/opt/rest hooks/bin/resthooks" \\\n  iniciar-workers ${words}\n`
    await writeFile(join(vendor, 'resthooks-pilaga.service'), unit('no-existe-tal'))
    await writeFile(join(local, 'otra.service'), '[Service]\nExecStart=/bin/true\n')
    await writeFile(join(local, 'resthooks-guarani.service'), unit('no-existe-tal', '-p guarani'))
    const found = () => checkUnits(findUnits(NAMES, [local, vendor]), [env])
    expect(found()).toMatchObject([{ resultado: 'error', detalle: expect.stringContaining('no existe') }])

    // What the administrator put there comes first.
    const own = join(local, 'resthooks-pilaga.service')
    await writeFile(own, unit('nobody'))
    expect(found()).toMatchObject([
      { resultado: 'error', detalle: `${own}: nobody no puede leer ${env}: los workers no arrancan` },
    ])
    expect(found()[0]!.que_hacer).toContain('o cambie User=')
    await writeFile(join(addition, 'override.conf'), `[Service]\nUser=\nUser=${userInfo().username}\n`)
    expect(found()).toMatchObject([{ resultado: 'ok' }])
    await writeFile(join(addition, 'zz.conf'), '[Service]\nPrivateTmp=yes\nProtectHome=yes\n')
    const hidden = checkUnits(findUnits(NAMES, [local, vendor]), ['/home/siu/resthooks.ini'])
    expect(hidden).toMatchObject([{ resultado: 'error', detalle: expect.stringContaining('esconde /home/siu') }])
    await writeFile(join(addition, 'zz.conf'), '[Service]\nDynamicUser=yes\n')
    expect(found()).toEqual([])

    // A group of its own may read what its user may not.
    await chmod(env, 0o640)
    const group = String(statSync(env).gid)
    await writeFile(join(addition, 'zz.conf'), '[Service]\nUser=nobody\n')
    expect(found()).toMatchObject([{ resultado: 'error' }])
    await writeFile(join(addition, 'zz.conf'), `[Service]\nUser=nobody\nSupplementaryGroups=0 ${group}\n`)
    expect(found()).toMatchObject([{ resultado: 'ok' }])
  })

  test('whatever starts the workers is told by its own name, where there is one', () => {
    const depths = { entrada: 0, listeners: [], entrada_invalida: 0, auditoria_pendiente: 0, claves_rotas: [] }
    const facts = { depths, workers: [], invalidReasons: [], backlog: {}, version: '1', configuracion: '' }
    const told = (starters: string[]) =>
      checkQueue(
        facts as unknown as Parameters<typeof checkQueue>[0],
        { audit: { maxPending: 0 } as never },
        starters,
      )[0]!.que_hacer
    expect(told(['systemctl start resthooks-pilaga'])).toBe('inícielos: systemctl start resthooks-pilaga')
    expect(told([])).toContain('inícielos: resthooks iniciar-workers, o con lo que los mantiene')
  })

  test.each([
    ['', '', true],
    [' -i produccion -p pilaga', '', true],
    [' -p guarani', '', false],
    [' --proyecto=guarani', '', false],
    [' -p pilaga -i desarrollo', '', false],
    ['', 'TOBA_PROYECTO="guarani"', false],
    ['', 'A="1",TOBA_INSTANCIA="produccion",TOBA_PROYECTO="pilaga"', true],
  ])('a program of another project is none of ours: «%s» «%s»', async (words, environment, isOurs) => {
    const folder = await mkdtemp(join(tmpdir(), 'proyectos-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    const conf = join(folder, 'supervisord.conf')
    await writeFile(
      conf,
      `[program:x]\ncommand=resthooks iniciar-workers${words}\nenvironment=${environment}\nstopwaitsecs=5\n`,
    )
    const found = checkSupervisord({ ...NAMES, workers: { drain: 30_000 } as WorkersConfig, files: filesOf([]) }, conf)
    expect(found.map(({ detalle }) => detalle.includes('supervisord mata'))).toEqual([isOurs])
  })
})

// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${VAR} is the syntax under test
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import { errorsOf, folder, listenerIni, load } from './folder.ts'

describe('precedence: environment, instalador.env, resthooks.ini, default', () => {
  const files = {
    'resthooks.ini': '[redis_config]\nhost = ini\nport = 1\nbase = 1\n',
    'instalador.env': 'REST_HOOKS_REDIS_HOST=env-file\nREST_HOOKS_REDIS_PORT=2\n',
  }

  test('each value comes from the first that has it, and says so', () => {
    const place = folder(files)
    const config = place.load({ environment: { REST_HOOKS_REDIS_HOST: 'environment' } })
    expect(config.redis).toMatchObject({ host: 'environment', port: 2, db: 1, username: null })
    const origins = ['host', 'port', 'base', 'usuario'].map((key) => config.origins.get(`redis_config.${key}`))
    expect(origins).toMatchObject([
      { kind: 'environment', variable: 'REST_HOOKS_REDIS_HOST' },
      { kind: 'env-file', file: join(place.path, 'instalador.env'), variable: 'REST_HOOKS_REDIS_PORT' },
      { kind: 'ini', file: join(place.path, 'resthooks.ini'), line: 4 },
      { kind: 'default' },
    ])
  })

  test('an empty variable is as good as none', () => {
    const config = folder(files).load({ environment: { REST_HOOKS_REDIS_HOST: '', REST_HOOKS_REDIS_DB: '' } })
    expect(config.redis).toMatchObject({ host: 'env-file', db: 1 })
  })

  test('the audit database falls back to the project and then to libpq', () => {
    const place = folder({
      'resthooks.ini': '[auditoria]\nhost = ini\n',
      'instalador.env': [
        'REST_HOOKS_DB_USERNAME=propio',
        'PROYECTO_DB_USERNAME=toba',
        'PROYECTO_DB_HOST=proyecto',
        'PROYECTO_DB_DBNAME="toba_3"',
        'PROYECTO_DB_PASSWORD=secreta',
      ].join('\n'),
    })
    const config = place.load({ environment: { PGPORT: '5433', PGDATABASE: 'otra', PGSSLMODE: 'require' } })
    expect(config.audit).toMatchObject({
      host: 'ini',
      username: 'propio',
      database: 'toba_3',
      password: 'secreta',
      port: 5433,
      sslmode: 'require',
      schema: 'resthooks',
    })
    expect(config.origins.get('auditoria.base')).toMatchObject({ kind: 'env-file', variable: 'PROYECTO_DB_DBNAME' })
  })

  test('REST_HOOKS_ACTIVO is the switch of last resort', () => {
    expect(load('resthooks_activo = 1').active).toBe(true)
    expect(load('resthooks_activo = off').active).toBe(false)
    expect(load('resthooks_activo = 1', { REST_HOOKS_ACTIVO: '0' }).active).toBe(false)
    expect(load('resthooks_activo = 0', { REST_HOOKS_ACTIVO: '1' }).active).toBe(true)
    expect(load('').active).toBe(true)
  })
})

test('every setting of the sections without listeners', () => {
  const config = load(`
    [redis_config]
    host = "redis.example"
    port = 6380
    usuario = u
    password = p
    base = 3
    tls = on
    sentinelas = 10.0.0.1:26379, [::1]:26380
    sentinela_maestro = mymaster
    [auditoria]
    host = /var/run/postgresql
    puerto = 5433
    base = auditoria
    usuario = a
    clave = c
    sslmode = verify-full
    schema = otro
    max_pendientes = 0
    max_pendientes_bytes = 64M
    retencion = 0
    [workers]
    concurrencia = 7
    procesos = 2
    drenaje = 90
    sondeo = 500ms
    arriendo = 1m
    metricas = 0.0.0.0:9464
    [reintentos]
    estrategia = fija
    espera_inicial = 10s
    intentos = 3
    jitter = 0
    vencimiento = 0`)
  expect(config.redis).toEqual({
    host: 'redis.example',
    port: 6380,
    username: 'u',
    password: 'p',
    db: 3,
    tls: true,
    ca: null,
    sentinels: [
      { host: '10.0.0.1', port: 26379 },
      { host: '::1', port: 26380 },
    ],
    sentinelMaster: 'mymaster',
  })
  expect(config.audit).toEqual({
    host: '/var/run/postgresql',
    port: 5433,
    database: 'auditoria',
    username: 'a',
    password: 'c',
    sslmode: 'verify-full',
    schema: 'otro',
    maxPending: 0,
    maxPendingBytes: 64 * 1024 ** 2,
    retention: 0,
  })
  expect(config.workers).toEqual({
    concurrency: 7,
    processes: 2,
    drain: 90_000,
    poll: 500,
    lease: 60_000,
    level: 'info',
    metrics: { host: '0.0.0.0', port: 9464 },
    maxMessage: 16 * 1024 ** 2,
  })
  expect(config.defaultStrategy).toEqual({
    name: 'predeterminada',
    kind: 'fija',
    first: 10_000,
    attempts: 3,
    jitter: 0,
    expiry: 0,
  })
})

test('the defaults', () => {
  const config = load('')
  expect(config.workers).toEqual({
    concurrency: 100,
    processes: 1,
    drain: 30_000,
    poll: 1000,
    lease: 30_000,
    level: 'info',
    metrics: null,
    maxMessage: 16 * 1024 ** 2,
  })
  expect(config.audit).toMatchObject({ maxPending: 1_000_000, retention: 365 * 86_400_000, schema: 'resthooks' })
  expect(config.defaultStrategy).toMatchObject({ kind: 'lista', jitter: 0.2, expiry: 7 * 86_400_000 })
  expect(config.defaultStrategy).toHaveProperty('delays.length', 9)
  expect(config.warnings).toEqual([])
})

describe('strategies', () => {
  test.each([
    ['estrategia = lista\nesperas = 1s, 2m', { kind: 'lista', delays: [1000, 120_000] }],
    ['estrategia = exponencial', { kind: 'exponencial', first: 5000, factor: 2, max: 86_400_000, attempts: 10 }],
    [
      'estrategia = exponencial\nespera_inicial = 1s\nfactor = 1.5\nespera_maxima = 1h\nintentos = 4',
      { kind: 'exponencial', first: 1000, factor: 1.5, max: 3_600_000, attempts: 4 },
    ],
    ['estrategia = lineal\nespera_inicial = 2s', { kind: 'lineal', first: 2000, max: 86_400_000, attempts: 10 }],
    ['estrategia = fija', { kind: 'fija', first: 60_000, attempts: 10 }],
  ])('%j', (lines, expected) => {
    const ini = `[reintentos r]\n${lines}\n${listenerIni('reintentos = r')}`
    expect(load(ini).listeners.get('x')!.strategy).toMatchObject({ name: 'r', ...expected })
  })

  test('keys that the strategy does not obey are told', () => {
    const { warnings } = load('[reintentos]\nestrategia = fija\nfactor = 3\nesperas = 5s')
    expect(warnings.join('\n')).toMatch(/:3 \[reintentos\] factor: no tiene efecto con estrategia = fija/)
    expect(warnings.join('\n')).toMatch(/:4 \[reintentos\] esperas/)
  })

  test('an unknown one is an error that names the known ones', () => {
    expect(errorsOf(`[reintentos rapida]\n${listenerIni('reintentos = rapdia')}`)).toContain(
      '¿Quiso decir «rapida»?'.slice(1),
    )
  })
})

test('all the errors of the files come at once, with file, line, section, key, what was found and what is accepted', () => {
  const place = folder({
    'resthooks.ini': [
      'resthooks_activo = quizás',
      '[redis_config]',
      'prot = 6379',
      'port = 70000',
      '[worker]',
      'concurrencia = 1',
      '[workers]',
      'concurrencia = muchas',
      '[listener a]',
      'url = https://a.example',
      'orden = estrcto',
      '[listener b]',
      '[listener a]',
      'url = https://a.example',
      'esto no es nada',
    ].join('\n'),
    'instalador.env': '\nREST_HOOKS_DB_PORT=cinco',
  })
  const message = place.errors()
  const ini = join(place.path, 'resthooks.ini')
  for (const line of [
    `${ini}:1 resthooks_activo: se encontró «quizás»; se acepta 1 o 0`,
    `${ini}:3 [redis_config] prot: clave desconocida. ¿Quiso decir «port»?`,
    `${ini}:4 [redis_config] port: se encontró «70000»; se acepta un puerto de 1 a 65535`,
    `${ini}:5 [worker]: sección desconocida. ¿Quiso decir «workers»?`,
    `${ini}:8 [workers] concurrencia: se encontró «muchas»; se acepta un número entero de 1 a 10000`,
    `${ini}:11 [listener a] orden: se encontró «estrcto»; se acepta libre | estricto. ¿Quiso decir «estricto»?`,
    `${ini}:12 [listener b]: falta el destino: indique uno de url, cliente o servicio`,
    `${ini}:13 [listener a]: la sección está repetida: ya está en la línea 9`,
    `${ini}:15 [listener a]: la línea no tiene la forma «clave = valor»`,
    `${join(place.path, 'instalador.env')}:2 REST_HOOKS_DB_PORT: se encontró «cinco»; se acepta un puerto`,
  ]) {
    expect(message).toContain(line)
  }
  expect(message).toMatch(/^La configuración tiene 10 errores:\n/)
})

test('an error of configuration has the exit code 3', () => {
  expect(() => load('nada = 1')).toThrow(ConfigError)
  expect(() => load('nada = 1')).toThrow(expect.objectContaining({ exitCode: 3 }))
})

test.each([
  ['[listener]', 'le falta el nombre: [listener NOMBRE]'],
  ['[cliente]', 'le falta el nombre: [cliente NOMBRE]'],
  ['[workers x]', 'se llama [workers], sin nada más'],
  ['[listener:x]', '¿Quiso decir «[listener x]»?'],
  ['[Workers]', '¿Quiso decir «workers»?'],
  ['[conexion]', 'sección desconocida. Se aceptan: [redis_config]'],
  ['[]', 'la sección no tiene nombre'],
  ['[__proto__]', 'sección desconocida'],
  ['[constructor x]', 'sección desconocida'],
  ['[listener @x]', 'el nombre de un listener'],
  ['[listener a b]', 'el nombre de un listener'],
  [`[listener ${'x'.repeat(65)}]`, 'el nombre de un listener'],
  ['[workers]\n__proto__ = 1', '__proto__: clave desconocida'],
  ['[listener a]\nurl = https://a.example\narriendo = 5s', 'arriendo: clave desconocida. Va en otro lugar: [workers].'],
  ['reintentos = rapida', 'clave desconocida. Va en otro lugar: [listener NOMBRE].'],
  ['[workers]\nresthooks_activo = 1', 'clave desconocida. Va en otro lugar: antes de la primera sección.'],
  ['[workers]\nconcurrencia[] = 1', 'no es una lista'],
  ['[workers]\nconcurrencia = 1\nconcurrencia = 2', 'ya está en la línea 2'],
])('%j is an error: %s', (ini, what) => {
  expect(errorsOf(ini)).toContain(what)
})

test.each([
  ['redis_config', 'port', ['0', '65536', '-1', 'x']],
  ['redis_config', 'base', ['-1', '1.5']],
  ['redis_config', 'tls', ['2', 'quizás']],
  ['redis_config', 'host', ['redis://x', 'a b']],
  ['redis_config', 'sentinelas', ['a', 'a:0', 'a:1,,b:2', ':1']],
  ['auditoria', 'puerto', ['0']],
  ['auditoria', 'sslmode', ['si']],
  ['auditoria', 'schema', ['Mayús', 'con espacio', 'pg_x', '1a', '"a;drop"']],
  ['auditoria', 'max_pendientes', ['-1', 'x']],
  ['auditoria', 'max_pendientes_bytes', ['-1', '2T', 'media']],
  ['auditoria', 'retencion', ['x', '-1d']],
  ['workers', 'concurrencia', ['0', '10001', 'x']],
  ['workers', 'procesos', ['0', '257']],
  ['workers', 'drenaje', ['x', '2d']],
  ['workers', 'sondeo', ['0', '2m']],
  ['workers', 'arriendo', ['0', '500ms', '2h']],
  ['workers', 'metricas', ['x', 'a:0', '99999']],
  ['reintentos', 'estrategia', ['rápida']],
  ['reintentos', 'esperas', ['', ',', '5s,,5s', 'x', '0']],
  ['reintentos', 'jitter', ['101%', 'x', '-1']],
  ['reintentos', 'vencimiento', ['x']],
])('[%s] %s out of range is an error', (section, key, wrong) => {
  for (const value of wrong) {
    expect(errorsOf(`[${section}]\n${key} = ${value}`), value).toMatch(
      new RegExp(`:2 \\[${section}\\] ${key}: se encontró .*; se acepta `),
    )
  }
})

test.each([
  ['exponencial', 'factor', ['0', '0.5', 'x']],
  ['exponencial', 'intentos', ['0', '10001']],
  ['lineal', 'espera_inicial', ['0', 'x']],
  ['lineal', 'espera_maxima', ['0', 'x']],
])('[reintentos] %s: %s out of range is an error', (kind, key, wrong) => {
  for (const value of wrong) {
    expect(errorsOf(`[reintentos]\nestrategia = ${kind}\n${key} = ${value}`), value).toContain(`${key}: se encontró`)
  }
})

test('settings that contradict each other are errors', () => {
  expect(errorsOf('[redis_config]\nsentinelas = a:1')).toContain('falta sentinela_maestro')
  expect(errorsOf('[reintentos]\nestrategia = lineal\nespera_inicial = 2h\nespera_maxima = 1h')).toContain(
    'es menor que espera_inicial',
  )
})

describe('references to variables', () => {
  const password = (written: string, environment: NodeJS.ProcessEnv = {}) =>
    load(`[redis_config]\npassword = ${written}`, environment).redis.password

  test.each([
    ['${CLAVE}', 'secreta'],
    ['"${CLAVE}"', 'secreta'],
    ['$env(CLAVE)$', 'secreta'],
    ['a-${CLAVE}-b-$env(CLAVE)$', 'a-secreta-b-secreta'],
    ['${NADA:-otra}', 'otra'],
    ['${VACIA:-otra}', 'otra'],
    ['${NADA:-}', null],
    ['$${CLAVE}', '${CLAVE}'],
    ['pre$cio', 'pre$cio'],
  ])('%s → %s', (written, value) => {
    expect(password(written, { CLAVE: 'secreta', VACIA: '' })).toBe(value)
  })

  test('what a variable holds is not looked into again', () => {
    expect(password('${CLAVE}', { CLAVE: '${OTRA} ; "x"' })).toBe('${OTRA} ; "x"')
  })

  test('the environment wins over instalador.env', () => {
    const place = folder({
      'resthooks.ini': '[redis_config]\npassword = ${A}\nusuario = ${B}',
      'instalador.env': 'A=archivo\nB=archivo',
    })
    expect(place.load({ environment: { A: 'entorno' } }).redis).toMatchObject({
      password: 'entorno',
      username: 'archivo',
    })
  })

  test('one that is not set is an error that names file, section, key and variable', () => {
    expect(errorsOf('[redis_config]\npassword = ${NO_HAY}')).toMatch(
      /resthooks\.ini:2 \[redis_config\] password: la variable NO_HAY no está definida/,
    )
    expect(errorsOf('[redis_config]\npassword = ${no hay}')).toContain('no es una referencia')
  })
})

test('an error never shows a secret', () => {
  const message = errorsOf(
    [
      '[redis_config]',
      'password[] = hunter2',
      'port = ${CLAVE}',
      '[listener x]',
      'url = https://ana:hunter2@x.example',
      'secreto = hunter2',
      'cabeceras[] = Authorization hunter2',
    ].join('\n'),
    { CLAVE: 'hunter2' },
  )
  expect(message).toContain('secreto: se encontró ***')
  expect(message).toContain('«${CLAVE}»')
  expect(message).not.toContain('hunter2')
})

test('an error cannot paint the terminal', () => {
  expect(errorsOf('[workers]\nconcurrencia = "\u001b[31mrojo"')).not.toContain('\u001b')
})

test('files are UTF-8 (with or without a mark), or else Latin-1; lines end in any way', () => {
  const text = `; configuración\r\n[redis_config]\r\nusuario = "José Ñandú"\r\n`
  for (const bytes of [Buffer.from(text), Buffer.from(`\uFEFF${text}`), Buffer.from(text, 'latin1')]) {
    expect(load(bytes).redis.username).toBe('José Ñandú')
  }
  expect(load(text.replaceAll('\r\n', '\r')).redis.username).toBe('José Ñandú')
  const place = folder({ 'instalador.env': Buffer.from('REST_HOOKS_REDIS_USERNAME="José"', 'latin1') })
  expect(place.load().redis.username).toBe('José')
})

describe('warnings', () => {
  test('a file with a password that others can read', () => {
    const place = folder({ 'resthooks.ini': '[redis_config]\npassword = x', 'instalador.env': 'OTRA_PASSWORD=x' })
    expect(place.load().warnings).toEqual([])
    for (const name of ['resthooks.ini', 'instalador.env']) chmodSync(join(place.path, name), 0o644)
    const warnings = place.load().warnings.join('\n')
    expect(warnings).toContain(`chmod o-r ${join(place.path, 'resthooks.ini')}`)
    expect(warnings).toContain(`chmod o-r ${join(place.path, 'instalador.env')}`)
  })

  test('a password that is only referred to is nobody else’s business', () => {
    const place = folder()
    place.write('resthooks.ini', '[redis_config]\npassword = ${P}', 0o644)
    chmodSync(join(place.path, 'resthooks.ini'), 0o644)
    expect(place.load({ environment: { P: 'x' } }).warnings).toEqual([])
  })

  test('a password that is a word that everybody says', () => {
    const warned = (clave: string) =>
      folder({ 'resthooks.ini': `[auditoria]\nusuario = siu\nbase = auditoria\nclave = ${clave}\n` }).load({
        proyecto: 'guarani',
      }).warnings
    for (const word of ['resthooks', 'thooks', 'guarani', 'auditoria', 'produccion'])
      expect(warned(word), word).toContainEqual(expect.stringMatching(/se ve como \*\*\* en todas partes/))
    expect(warned('resthooks-2026')).toEqual([])
  })

  test('what nobody uses', () => {
    const { warnings } = load('[cliente solo]\nto = https://a.example\n[reintentos sola]\nestrategia = fija')
    expect(warnings).toEqual([
      expect.stringContaining(':1 [cliente solo]: ningún listener la usa'),
      expect.stringContaining(':3 [reintentos sola]: ningún listener la usa'),
    ])
  })

  test('a misspelt variable of ours, but not one that the file refers to', () => {
    const environment = { REST_HOOKS_REDIS_HOTS: 'x', REST_HOOKS_MI_CLAVE: 'y', RESTHOOKS_INI: '' }
    const { warnings } = load('[redis_config]\npassword = ${REST_HOOKS_MI_CLAVE}', environment)
    expect(warnings).toEqual([
      expect.stringContaining('REST_HOOKS_REDIS_HOTS: nadie lee esta variable. ¿Quiso decir «REST_HOOKS_REDIS_HOST»?'),
    ])
  })
})

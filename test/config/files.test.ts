import { chmodSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadSendConfig, loadWorkerConfig, searchPlaces } from '../../src/config/load.ts'
import { folder } from './folder.ts'

const INI = 'resthooks_activo = 1\n'

test('of the places where resthooks.ini may be, the first that exists wins', () => {
  const places = folder()
  const environment = { TOBA_INSTALACION_DIR: join(places.path, 'inst'), RESTHOOKS_INI: join(places.path, 'var.ini') }
  const options = { environment, instancia: 'desarrollo', proyecto: 'pilaga' }
  const without = { ...options, environment: { ...environment, RESTHOOKS_INI: '' } }

  const cwd = places.write('resthooks.ini', INI)
  expect(places.load(without).files.ini).toBe(cwd)
  const installation = places.write('inst/resthooks.ini', INI)
  expect(places.load(without).files.ini).toBe(installation)
  const project = places.write('inst/i__desarrollo/p__pilaga/resthooks.ini', INI)
  expect(places.load(without).files.ini).toBe(project)
  const variable = places.write('var.ini', INI)
  expect(places.load(options).files.ini).toBe(variable)
  const flag = places.write('flag.conf', INI)
  expect(places.load({ ...options, config: 'flag.conf' }).files.ini).toBe(flag)
  expect(searchPlaces({ cwd: places.path, ...without }).ini).toEqual([
    project,
    installation,
    cwd,
    '/etc/resthooks/resthooks.ini',
  ])
})

test('of the places where instalador.env may be, the first that exists wins', () => {
  const places = folder({ 'inst/i__produccion/p__resthooks/resthooks.ini': INI })
  const environment = { TOBA_INSTALACION_DIR: join(places.path, 'top/inst') }
  const config = places.write('elsewhere/resthooks.ini', INI)
  const env = (extra: object = {}) => places.load({ environment: { ...environment, ...extra }, config }).files.env

  expect(env()).toBeNull()
  const cwd = places.write('instalador.env', 'A=1')
  expect(env()).toBe(cwd)
  const above = places.write('top/instalador.env', 'A=1')
  expect(env()).toBe(above)
  const installation = places.write('top/inst/instalador.env', 'A=1')
  expect(env()).toBe(installation)
  const beside = places.write('elsewhere/instalador.env', 'A=1')
  expect(env()).toBe(beside)
  const variable = places.write('otro', 'A=1')
  expect(env({ RESTHOOKS_ENV: variable })).toBe(variable)
  expect(places.load({ environment: { RESTHOOKS_ENV: variable }, config, env: 'instalador.env' }).files.env).toBe(cwd)
})

test('the installation: --instalacion, TOBA_INSTALACION_DIR, TOBA_DIR, ./instalacion, the working directory', () => {
  const { path } = folder()
  const at = (environment: NodeJS.ProcessEnv, instalacion?: string) =>
    searchPlaces({ cwd: path, environment, instalacion }).installation
  const both = { TOBA_INSTALACION_DIR: '/a', TOBA_DIR: '/b' }
  expect(at({})).toBe(path)
  mkdirSync(join(path, 'instalacion'))
  expect(at({})).toBe(join(path, 'instalacion'))
  expect(at({ TOBA_DIR: '/b' })).toBe('/b/instalacion')
  expect(at(both)).toBe('/a')
  expect(at(both, 'c')).toBe(join(path, 'c'))
})

test('instancia and proyecto: option, then TOBA_ variable, then produccion and resthooks', () => {
  const { load } = folder({ 'resthooks.ini': INI })
  const names = (options: object) => {
    const { instancia, proyecto } = load(options)
    return [instancia, proyecto]
  }
  const environment = { TOBA_INSTANCIA: 'desarrollo', TOBA_PROYECTO: 'pilaga' }
  expect(names({})).toEqual(['produccion', 'resthooks'])
  expect(names({ environment })).toEqual(['desarrollo', 'pilaga'])
  expect(names({ environment, instancia: 'prueba', proyecto: 'guarani' })).toEqual(['prueba', 'guarani'])
})

test.each(['../otra', 'a/b', '', ' ', 'a{b}', '..'].filter((name) => name.trim() !== ''))(
  'an instancia called %j is refused: it becomes a path and a key',
  (instancia) => {
    expect(() => folder().load({ instancia })).toThrow(
      expect.objectContaining({ code: 'USO', message: expect.stringContaining('--instancia') }),
    )
  },
)

test('a file that was named and is missing is an error that says how it was named', () => {
  const { errors, path } = folder()
  expect(errors({ config: 'no.ini' })).toContain(
    `${join(path, 'no.ini')}: se indicó con --config, pero el archivo no existe`,
  )
  expect(errors({ env: 'no.env' })).toContain('se indicó con --env, pero el archivo no existe')
  expect(errors({ environment: { RESTHOOKS_INI: '/no/hay.ini' } })).toContain('$RESTHOOKS_INI')
  expect(errors({ environment: { RESTHOOKS_ENV: '/no/hay.env' } })).toContain('$RESTHOOKS_ENV')
  expect(errors({ config: '.' })).toContain('es una carpeta')
  expect(errors({ instalacion: 'no-hay' })).toContain('--instalacion')
})

test('without any file there are defaults, and a warning that tells where it looked', () => {
  const { load, path } = folder()
  const config = load()
  const nothing = { ini: null, own: false, env: null, variables: 0, watched: [] }
  expect(config.files).toEqual({ ...nothing, installation: path })
  expect(config.redis).toMatchObject({ host: '127.0.0.1', port: 6379 })
  expect(config.warnings.join()).toContain(join(path, 'resthooks.ini'))
})

test('a file that exists and cannot be read is an error, not a reason to take the next one', () => {
  const places = folder({ 'resthooks.ini': INI })
  const closed = places.write('i__produccion/p__resthooks/resthooks.ini', INI, 0o000)
  openFolders(places.path)
  becomeNobody()
  expect(places.errors()).toContain(`${closed}: el resthooks.ini existe, pero no se puede leer`)
  const options = { cwd: places.path, environment: {} }
  expect(() => loadWorkerConfig(options)).toThrow(`${closed}: el resthooks.ini existe, pero no se puede leer`)
  // For whoever sends neither: it is not said that there is none.
  expect(() => loadSendConfig(options, [])).toThrow(/^La configuración tiene un error:/)
})

test('a folder in the place of a file is said to be one', () => {
  for (const name of ['i__produccion/p__resthooks/resthooks.ini', 'instalador.env']) {
    const places = folder({ 'resthooks.ini': INI, [`${name}/algo`]: '' })
    expect(places.errors()).toMatch(new RegExp(`${name}: el ${basename(name)} es una carpeta, no un archivo`))
  }
})

test('a folder of a named installation that we may not enter is an error; one that is only passed by is a warning', () => {
  const places = folder({ 'resthooks.ini': INI, 'instalacion/resthooks.ini': INI })
  openFolders(places.path)
  chmodSync(join(places.path, 'instalacion'), 0o700)
  becomeNobody()
  const hidden = `${join(places.path, 'instalacion/resthooks.ini')}: no se puede ver si aquí hay un resthooks.ini`
  expect(places.errors({ instalacion: 'instalacion' })).toContain(hidden)
  expect(places.errors({ environment: { TOBA_INSTALACION_DIR: 'instalacion' } })).toContain(hidden)
  if (process.getuid!() !== 0) return
  expect(places.load().warnings.join()).toContain(hidden)
  process.seteuid!(0)
  rmSync(join(places.path, 'resthooks.ini'))
  process.seteuid!(65534)
  expect(() => loadWorkerConfig({ cwd: places.path, environment: {} })).toThrow(
    /no hay resthooks\.ini, .* Se buscó en: .*no se puede ver si aquí hay un resthooks\.ini/,
  )
  // Nothing else was found: what waits would be shown as nobody's, with the advice to give it up.
  expect(places.errors()).toContain(hidden)
  expect(() => loadSendConfig({ cwd: places.path, environment: {} }, [])).toThrow(hidden)
  // Whoever only sends may be told by the environment alone.
  const environment = { REST_HOOKS_REDIS_HOST: '127.0.0.1' }
  expect(loadSendConfig({ cwd: places.path, environment }, []).config.files.ini).toBe(null)
  expect(places.load({ environment }).warnings.join()).toContain(hidden)
})

test('an instalador.env that cannot be read is told before what it causes, which is not listed', () => {
  const variables = ['A', 'B', 'C', 'D', 'E', 'F', 'G'].map((name) => `[listener ${name}]\nurl = \${${name}}\n`)
  const places = folder({ 'resthooks.ini': `${variables.join('')}[workers]\nconcurrencia = x\n` })
  const closed = places.write('instalador.env', 'A=http://a.example', 0o000)
  openFolders(places.path)
  becomeNobody()
  const [title, first, second, ...more] = places.errors().split('\n')
  expect(title).toContain('2 errores')
  expect(first).toContain(`${closed}: el instalador.env existe, pero no se puede leer`)
  expect(second).toContain('concurrencia')
  expect(more).toEqual([])
})

test('a variable whose line is wrong is told once, not for each that refers to it', () => {
  const ini = `[listener x]\nurl = \${A}\n[listener y]\nurl = \${A}\n[redis_config]\nhost = \${A}\n`
  expect(folder({ 'resthooks.ini': ini, 'instalador.env': 'A="\\d"\nB=1' }).errors()).toMatch(
    /^La configuración tiene un error:\n.*instalador\.env:1 A: entre comillas dobles/,
  )
})

/** Root reads everything: for one moment, be somebody else who may enter the folders but not read a closed file. */
function becomeNobody(): void {
  const uid = process.geteuid!()
  if (uid !== 0) return
  process.seteuid!(65534)
  onTestFinished(() => process.seteuid!(uid))
}

function openFolders(path: string): void {
  for (const name of ['', 'i__produccion', 'i__produccion/p__resthooks', 'resthooks.ini']) {
    const place = join(path, name)
    if (existsSync(place)) chmodSync(place, name === 'resthooks.ini' ? 0o644 : 0o755)
  }
}

test('links that go round in circles are reported', () => {
  const places = folder()
  symlinkSync('resthooks.ini', join(places.path, 'resthooks.ini'))
  expect(places.errors()).toContain('enlaces simbólicos forman un círculo')
})

test('settings of cosmiconfig in the working directory are neither read nor run', () => {
  const places = folder({
    'resthooks.ini': INI,
    'package.json': '{ not json',
    '.config/config.js': 'globalThis.ranForeignCode = true; module.exports = {}',
  })
  const before = process.cwd()
  process.chdir(places.path)
  onTestFinished(() => process.chdir(before))
  expect(places.load().active).toBe(true)
  expect((globalThis as { ranForeignCode?: boolean }).ranForeignCode).toBeUndefined()
})

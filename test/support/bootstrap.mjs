/**
 * Makes a machine that has only Node ready for `npm test` and `npm run demo`: the packages of the lock file, a build and
 * a redis-server. Runs before anything from node_modules exists, so: plain JavaScript, Node's own modules alone.
 *
 * `--completo` (continuous integration) also installs the Debian peers that single tests need and skip where missing.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const complete = process.argv.includes('--completo')

/** Debian package → a program (or file) that shows that it is there, and the service that it would start by itself. */
const PEERS = {
  'redis-server': { shows: 'redis-server', service: 'redis-server' },
  'nginx-light': { shows: 'nginx', service: 'nginx' },
  apache2: { shows: 'apache2', service: 'apache2' },
  supervisor: { shows: 'supervisord', service: 'supervisor' },
  'php-cli': { shows: 'php', service: null },
  'php-redis': { shows: '/usr/share/doc/php-redis', service: null },
  chromium: { shows: 'chromium', service: null },
  'xz-utils': { shows: 'xz', service: null },
  adduser: { shows: 'adduser', service: null },
  prometheus: { shows: 'promtool', service: 'prometheus' },
  python3: { shows: 'python3', service: null },
  systemd: { shows: 'systemd-notify', service: null },
  zsh: { shows: 'zsh', service: null },
  fish: { shows: 'fish', service: null },
  'groff-base': { shows: 'groff', service: null },
  openssl: { shows: 'openssl', service: null },
  'postgresql-client': { shows: 'pg_dump', service: null },
}

requireNode()
installPackages()
installPeers(complete ? Object.keys(PEERS) : ['redis-server'])

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 10)) return
  stop(`Hace falta Node 20.10 o posterior y este es ${process.version} (${process.execPath}).`)
}

function installPackages() {
  if (!packagesAreStale()) return
  say('Instalando los paquetes de package-lock.json (npm ci)…')
  const npm = process.env.npm_execpath
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []]
  // A production setting of the shell must not leave the test tools out.
  const result = run(/** @type {string} */ (command), [.../** @type {string[]} */ (args), 'ci', '--include=dev'])
  if (result.status !== 0) stop('«npm ci» falló: vea el mensaje de arriba. ¿Hay salida al registro de npm?')
}

/** Compares versions, not dates: a checkout or a restored cache sets dates at will. */
function packagesAreStale() {
  const wanted = lockedPackages(join(root, 'package-lock.json'))
  const found = lockedPackages(join(root, 'node_modules/.package-lock.json'))
  if (!wanted || !found) return true
  if (!existsSync(join(root, 'dist/cli.js'))) return true
  return Object.entries(wanted).some(([path, { version, optional }]) => {
    if (path === '') return false
    return found[path] ? found[path].version !== version : !optional
  })
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, optional?: boolean }> | null} null where the file is missing or broken
 */
function lockedPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return null
  }
}

/** @param {string[]} names */
function installPeers(names) {
  const missing = names.filter((name) => !isThere(PEERS[/** @type {keyof typeof PEERS} */ (name)].shows))
  // Somebody else's Redis serves the tests just as well as one of our own.
  const needed = process.env.RESTHOOKS_PRUEBAS_REDIS ? missing.filter((name) => name !== 'redis-server') : missing
  if (needed.length === 0) return
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const may = onPath('apt-get') && (sudo.length === 0 || run('sudo', ['-n', 'true'], 'ignore').status === 0)
  if (may) aptGet(sudo, needed)
  if (isThere('redis-server') || process.env.RESTHOOKS_PRUEBAS_REDIS) return
  stop(
    `Hace falta redis-server y ${may ? 'apt-get no pudo instalarlo' : 'no se lo puede instalar desde aquí (se necesita apt-get con root o sudo sin clave)'}.`,
    'Instálelo (por ejemplo: sudo apt-get install redis-server), o use uno de Docker:',
    '',
    '  docker run --rm -d -p 127.0.0.1:6390:6379 redis:7',
    '  RESTHOOKS_PRUEBAS_REDIS=127.0.0.1:6390 npm test      (o npm run demo)',
  )
}

/**
 * @param {string[]} sudo
 * @param {string[]} names
 */
function aptGet(sudo, names) {
  say(`Instalando con apt-get: ${names.join(' ')}…`)
  const root = (/** @type {string[]} */ ...command) => {
    const [first, ...rest] = [...sudo, ...command]
    return run(/** @type {string} */ (first), rest, command[0] === 'apt-get' ? 'inherit' : 'ignore').status === 0
  }
  const services = names.flatMap((name) => PEERS[/** @type {keyof typeof PEERS} */ (name)].service ?? [])
  const systemd = existsSync('/run/systemd/system')
  // Debian starts a service as soon as it is installed. The tests run servers of their own: a service that is here
  // only because of them neither starts now (masked meanwhile) nor at the next boot. One that was here already is not
  // touched. Without an init system invoke-rc.d blocks the start by itself.
  if (systemd) for (const service of services) root('systemctl', 'mask', '--runtime', `${service}.service`)
  root('apt-get', 'update', '-qq')
  const install = ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', '-o', 'Dpkg::Use-Pty=0']
  root('env', 'DEBIAN_FRONTEND=noninteractive', ...install, ...names) ||
    // One package that this release lacks must not keep the others away.
    names.forEach((name) => void root('env', 'DEBIAN_FRONTEND=noninteractive', ...install, name))
  for (const service of services) {
    if (systemd) root('systemctl', 'unmask', '--runtime', `${service}.service`)
    else root('invoke-rc.d', service, 'stop')
    root('update-rc.d', service, 'disable')
  }
}

/** @param {string} shows */
function isThere(shows) {
  return shows.startsWith('/') ? existsSync(shows) : onPath(shows)
}

/** @param {string} program */
function onPath(program) {
  // Daemons live in sbin, which is not on the PATH of an ordinary user.
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {'inherit' | 'ignore'} output
 */
function run(command, args, output = 'inherit') {
  // Results belong to the program that runs afterwards: what this script shows goes to stderr.
  const stdout = output === 'inherit' ? process.stderr : 'ignore'
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', stdout, output] })
}

/** @param {string} text */
function say(text) {
  process.stderr.write(`${text}\n`)
}

/**
 * @param {...string} lines
 * @returns {never}
 */
function stop(...lines) {
  say(lines.join('\n'))
  process.exit(1)
}

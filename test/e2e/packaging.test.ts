/**
 * `npm run paquete`: the same bytes each time, a tar ball that runs from any folder, a .deb that is installed, used and purged by
 * dpkg, and the steps of the Containerfile: both in a root of their own, which lies over this machine's and goes with the test.
 */
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DockerfileParser } from 'dockerfile-ast'
import { afterAll, beforeAll, describe } from 'vitest'
import { parse } from 'yaml'
import { COMMANDS } from '../../src/commands/registry.ts'
import { BIN, runProgram } from '../support/cli.ts'
import { freePort } from '../support/ports.ts'
import { findProgram, peer } from '../support/programs.ts'
import { expect, test, type World } from '../support/world.ts'
import { blockText } from './readme-blocks.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const { version, dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const [TAR, DEB] = [`resthooks-${version}.tar.gz`, `resthooks_${version}_all.deb`]
let place: string

async function make(folder: string, env: Record<string, string> = {}) {
  const run = await runProgram(process.execPath, [join(root, 'packaging/paquete.mjs'), folder], {
    env: { SOURCE_DATE_EPOCH: '1700000000', ...env },
    cwd: '/',
    timeout: 120_000,
  })
  if (run.code !== 0) throw new Error(run.stderr)
}

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'resthooks-paquetes-'))
  await mkdir(join(place, 'otra'))
  await Promise.all([make(join(place, 'a')), make(join(place, 'b'), { TMPDIR: join(place, 'otra'), TZ: 'Asia/Tokyo' })])
}, 180_000)

afterAll(() => rm(place, { recursive: true, force: true }))

test('two packages of the same sources are the same to the byte, as their sums say', async () => {
  const sums = await readFile(join(place, 'a/SHA256SUMS'), 'utf8')
  expect(await readFile(join(place, 'b/SHA256SUMS'), 'utf8')).toBe(sums)
  const files = (await readdir(join(place, 'a'))).filter((name) => name !== 'SHA256SUMS').toSorted()
  expect(files).toEqual(findProgram('dpkg-deb') ? [TAR, DEB] : [TAR])
  for (const name of files) {
    const sum = createHash('sha256').update(await readFile(join(place, 'a', name)))
    expect(sums).toContain(`${sum.digest('hex')}  ${name}\n`)
  }
})

test('the tar ball runs from a folder with Node alone, and carries the licences of all that is in it', async ({
  world,
}) => {
  const listener = await world.listener(() => ({ status: 200 }))
  const folder = join(world.folder, 'en otro lado')
  await mkdir(folder)
  const unpack = blockText('tar').replaceAll('/opt', `'${folder}'`).replace('/usr/local/bin', `'${folder}'`)
  expect(await runProgram('sh', ['-ec', unpack], { cwd: join(place, 'a') })).toMatchObject({ code: 0, stderr: '' })
  const program = join(folder, `resthooks-${version}`)
  const run = (...args: string[]) => runProgram(join(folder, 'resthooks'), args, { cwd: '/', env: world.environment })
  expect((await run('--version')).stdout).toContain(version)
  expect(await run('crear-base')).toMatchObject({ code: 0 })
  expect(await run('send', 'x', '{}')).toMatchObject({ code: 0 })
  expect(await run('iniciar-workers', '--una-vez')).toMatchObject({ code: 0 })
  expect(listener.requests).toHaveLength(1)
  const notice = await readFile(join(program, 'NOTICE'), 'utf8')
  for (const name of Object.keys(dependencies)) expect(notice).toMatch(new RegExp(`\\n${name} \\d`))
  const names = await readdir(program, { recursive: true })
  expect(names).toEqual(
    expect.arrayContaining([
      ...['README.md', 'LICENSE', 'CHANGELOG.md', 'docs/actualizar.md', 'contrib/resthooks.service'],
      ...['dist/man/resthooks.1', 'completado/resthooks.bash', 'completado/_resthooks', 'completado/resthooks.fish'],
    ]),
  )
  expect(names.filter((name) => /^test|node_modules|\.map$|\.cache$/.test(name))).toEqual(
    names.filter((name) => name.endsWith('.cache') && name.startsWith('dist/send.cjs.')),
  )
})

/** Mounts this machine's files under a layer of its own, and runs a script in it: nothing of it remains. */
const INSIDE = `set -e
mount -t tmpfs none "$1"
mkdir "$1/encima" "$1/trabajo" "$1/raiz"
mount -t overlay -o "lowerdir=/,upperdir=$1/encima,workdir=$1/trabajo" none "$1/raiz"
mount --bind /dev "$1/raiz/dev"
mount -t proc none "$1/raiz/proc"
cp "$2" "$1/raiz/guion.sh"
exec chroot "$1/raiz" /bin/sh /guion.sh
`

async function inPrivateRoot(folder: string, script: string) {
  await Promise.all([mkdir(join(folder, 'raiz')), writeFile(join(folder, 'guion.sh'), script)])
  const shell = ['sh', '-c', INSIDE, 'sh', join(folder, 'raiz'), join(folder, 'guion.sh')]
  return runProgram('unshare', ['--mount', '--pid', '--fork', ...shell], { timeout: 120_000 })
}

async function whyNoRoot(): Promise<string> {
  if (process.geteuid?.() !== 0) return ' (se omite: hace falta root)'
  for (const program of ['dpkg-deb', 'unshare', 'setpriv', 'systemd-analyze', 'xz', 'adduser'])
    if (findProgram(program) === null) return ` (se omite: falta ${program})`
  const folder = await mkdtemp(join(tmpdir(), 'resthooks-raiz-'))
  const { code } = await inPrivateRoot(folder, 'exit 0')
  await rm(folder, { recursive: true, force: true })
  return code === 0 ? '' : ' (se omite: aquí no se puede montar una raíz propia)'
}

/** A block of the manual with this test's servers, project and folders. */
function asHere(name: string, world: World, url = ''): string {
  const { host, port } = world.redis.options
  const { host: pgHost, port: pgPort, user, pass, database } = world.sql.options
  return blockText(name)
    .replaceAll('127.0.0.1:6379', `${host}:${port}`)
    .replaceAll('resthooks@127.0.0.1:5432/resthooks', `${user}@${[pgHost].flat()[0]}:${[pgPort].flat()[0]}/${database}`)
    .replaceAll('una-clave', String(pass))
    .replaceAll('https://compras.example.edu.ar', url)
    .replaceAll('pilaga', world.proyecto)
}

const why = await whyNoRoot()
describe.skipIf(why !== '')(`dpkg${why}`, () => {
  test('the README’s way from nothing to a delivered message; the workers as the unit would run them; purging leaves what people wrote', async ({
    world,
  }) => {
    const listener = await world.listener(() => ({ status: 200 }))
    const settings = '/etc/default/resthooks'
    const script = `set -e
export PATH='/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
cd '${join(place, 'a')}'
# A Node as its download would be, and what only a whole machine has.
mkdir -p /tmp/n/node-v24.0.0-linux-x64/bin && ln -s '${process.execPath}' /tmp/n/node-v24.0.0-linux-x64/bin/node
tar -C /tmp/n -cJf node-v24.0.0-linux-x64.tar.xz node-v24.0.0-linux-x64
mkdir /tmp/sin && PATH="/tmp/sin:$PATH"
printf 'force-unsafe-io\\nno-triggers\\n' >/etc/dpkg/dpkg.cfg.d/rapido
echo 'dpkg --install "$3" >/dev/null' >/tmp/sin/apt-get
echo '[ "$1" != enable ] || echo "$3" >/tmp/sin/encendido' >/tmp/sin/systemctl
chmod +x /tmp/sin/*
${asHere('el programa', world)}
echo "carpeta: $(stat -c '%U:%G %a' /etc/resthooks)"
export REST_HOOKS_DB_SCHEMA=${world.schema} TOBA_INSTANCIA=${world.instancia}
(${asHere('la configuración', world, listener.url)}) >/dev/null 2>&1
unset REST_HOOKS_DB_SCHEMA
${asHere('los workers', world)}
unit="/etc/systemd/system/$(cat /tmp/sin/encendido).service"
systemd-analyze verify --man=no "$unit"
# What systemd gives the unit: its user, its folder, and its variables alone.
as_user() { (cd / && env -i PATH="$PATH" HOME=/ TOBA_INSTANCIA=${world.instancia} setpriv --reuid resthooks --regid resthooks --clear-groups "$@"); }
grep -q '^User=resthooks$' "$unit"
as_user $(sed -n 's/^ExecStart=//p' "$unit") >/tmp/registro &
cat > /tmp/primero.sh <<'FIN'
${asHere('el primer mensaje', world)}
FIN
as_user sh -e /tmp/primero.sh
ls /usr/lib/resthooks/dist/*.cache >/dev/null
bash -n /usr/share/bash-completion/completions/resthooks
gzip -t /usr/share/man/man1/resthooks.1.gz
(${asHere('instalar el paquete nuevo', world)}) >/dev/null
dpkg --purge resthooks | grep queda
ls /etc/resthooks
id -un resthooks
! ls -d /usr/bin/resthooks /usr/lib/resthooks ${settings} /etc/logrotate.d/resthooks /usr/lib/systemd/system/resthooks.service 2>/dev/null
`
    const run = await inPrivateRoot(world.folder, script)
    expect(run, run.stdout + run.stderr).toMatchObject({ code: 0 })
    const lines = run.stdout.trim().split('\n')
    expect(lines[0]).toBe('carpeta: root:resthooks 750')
    expect(run.stdout).toMatch(/proveedor\.alta +1 entregada/)
    expect(lines.slice(-6)).toEqual([
      ...[expect.stringContaining('queda /etc/resthooks'), 'crear-base.sql', 'instalador.env'],
      ...['resthooks-proyecto.service', 'resthooks.ini', 'resthooks'],
    ])
    expect(listener.requests.map(({ url, body }) => [url, body.toString()])).toEqual([
      ['/rest/', '{"id":7,"razon_social":"Núñez S.A."}'],
    ])
  })

  test('the container’s steps, as nobody in particular on a read-only disk: healthy, delivers, and drains on SIGTERM', async ({
    world,
  }) => {
    await world.createSchema()
    await world.set('workers', { metricas: `127.0.0.1:${await freePort()}` })
    const listener = await world.listener(() => ({ status: 200 }))
    const { env, run, health, start } = containerfile
    const script = `set -e
export PATH='${process.execPath.replace(/\/[^/]+$/, '')}:/usr/local/bin:/usr/bin:/bin'
export VERSION=${version}
mkdir -p /etc/resthooks
tar -xzf '${join(place, 'a', TAR)}' -C /opt
${run}
cp '${world.ini}' /etc/resthooks/resthooks.ini
cp '${world.env}' /etc/resthooks/instalador.env
chgrp 1000 /etc/resthooks/*
chmod 640 /etc/resthooks/*
mount -t tmpfs none /tmp
mount -o remount,ro /
cd /
# In the place of the shell that calls it: what is signalled is the program.
inside() { exec env -i PATH="$PATH" ${env} TOBA_INSTANCIA=${world.instancia} TOBA_PROYECTO=${world.proyecto} \\
  setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"; }
inside ${start} >/tmp/registro & worker=$!
until (inside ${health}) >/dev/null 2>&1; do kill -0 $worker || { cat /tmp/registro; exit 1; }; sleep 0.1; done
(inside resthooks send x '{}') >/dev/null
until (inside resthooks auditoria --estado exitosa) | grep -q exitosa; do sleep 0.1; done
! (inside touch /opt/x) 2>/dev/null
kill -TERM $worker
wait $worker
`
    const done = await inPrivateRoot(world.folder, script)
    expect(done, done.stdout + done.stderr).toMatchObject({ code: 0 })
    expect(listener.requests).toHaveLength(1)
  })
})

/** What a builder would do, and what the image then starts. */
const containerfile = await readFile(join(root, 'contrib/Containerfile'), 'utf8').then((text) => {
  const all = DockerfileParser.parse(text)
    .getInstructions()
    .map((each) => ({ keyword: each.getKeyword(), words: each.getArgumentsContent() ?? '' }))
  const of = (keyword: string) => all.filter((each) => each.keyword === keyword).map(({ words }) => words)
  const words = (json: string) => (JSON.parse(json) as string[]).join(' ')
  const [health = '[]'] = /\[.*\]$/.exec(of('HEALTHCHECK')[0]!) ?? []
  return {
    order: all.map(({ keyword }) => keyword),
    user: of('USER'),
    env: of('ENV').join(' '),
    run: of('RUN').join('\n'),
    health: words(health),
    start: `${words(of('ENTRYPOINT')[0]!)} ${words(of('CMD')[0]!)}`,
  }
})

test('the Containerfile parses, and its image does not run as root', () => {
  const { order, user, start, health } = containerfile
  const before = ['ARG', 'FROM', 'ARG', 'ADD', 'RUN', 'ENV']
  expect(order).toEqual([...before, 'USER', 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'])
  expect({ user, start, health }).toEqual({
    user: ['node'],
    start: 'resthooks iniciar-workers',
    health: 'resthooks salud',
  })
})

test('compose.yaml: commands that exist, shut in, waited for in order, and given more than drenaje to end', async () => {
  const text = await readFile(join(root, 'contrib/compose.yaml'), 'utf8')
  const { services, volumes } = parse(text, { merge: true })
  expect(Object.keys(services)).toEqual(['redis', 'postgres', 'base', 'workers', 'panel'])
  for (const name of ['base', 'workers', 'panel']) {
    const { command, volumes: mounted, ...rest } = services[name]
    expect(rest).toMatchObject({
      image: `resthooks:${version}`,
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      init: true,
    })
    expect(Object.keys(COMMANDS)).toContain(command[0])
    for (const each of mounted) expect(each).toMatch(/^\.\/(resthooks\.ini|instalador\.env):\/etc\/resthooks\/\1:ro$/)
    expect(mounted).toHaveLength(2)
  }
  expect(services.workers.stop_grace_period).toBe('45s')
  interface Service {
    readonly depends_on?: object
    readonly healthcheck: { readonly test?: readonly string[] }
  }
  for (const { depends_on = {}, healthcheck } of Object.values<Service>(services)) {
    for (const name of Object.keys(depends_on)) expect(Object.keys(services)).toContain(name)
    const [kind, program, command] = healthcheck.test ?? ['CMD']
    expect(kind).toBe('CMD')
    if (program === 'resthooks') expect(Object.keys(COMMANDS)).toContain(command)
  }
  expect(services.redis.command.join(' ')).toMatch(/--appendonly yes .*--maxmemory-policy noeviction/)
  expect(Object.keys(volumes)).toEqual(['redis', 'postgres'])
})

const supervisord = peer('supervisord')
describe.skipIf(supervisord.missing)(`supervisord${supervisord.note}`, () => {
  test('without being an administrator: the tar ball in one’s own folder, under one’s own supervisord', async ({
    world,
  }) => {
    const listener = await world.listener(() => ({ status: 200 }))
    const home = join(world.folder, 'casa')
    await mkdir(home)
    await Promise.all([chmod(world.folder, 0o755), chmod(place, 0o755)])
    const nobody =
      process.geteuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'] : []
    if (nobody.length > 0) await chown(home, 65534, 65534)
    const script = `set -e
cd '${join(place, 'a')}'
export REST_HOOKS_DB_SCHEMA=${world.schema} TOBA_INSTANCIA=${world.instancia}
${asHere('sin ser administrador', world, listener.url)}
${asHere('supervisord propio', world)}
${asHere('el primer mensaje', world)}
supervisorctl -c ~/supervisord.conf shutdown
while [ -e ~/supervisord.pid ]; do sleep 0.1; done
ls -l ~/proyecto
`
    await writeFile(join(world.folder, 'guion.sh'), script)
    const [program, ...words] = [...nobody, 'sh', join(world.folder, 'guion.sh')]
    const run = await runProgram(program!, words, { env: { HOME: home, USER: 'nobody' } })
    expect(run, run.stdout + run.stderr).toMatchObject({ code: 0 })
    expect(run.stdout).toMatch(/proveedor\.alta +1 entregada/)
    expect(listener.requests).toHaveLength(1)
    expect(run.stdout).toMatch(/^-rw------- .*instalador\.env$/m)
  })
})

test('an older Node is told by name, with the way out, before anything of the program is read', async ({ world }) => {
  const pretend = join(world.folder, 'viejo.cjs')
  await writeFile(pretend, `Object.defineProperty(process.versions, 'node', { value: '18.20.4' })`)
  for (const script of [BIN, join(root, 'build.mjs')]) {
    const run = await runProgram(process.execPath, ['-r', pretend, script, '--version'], { cwd: '/' })
    expect(run).toMatchObject({ code: 3, stdout: '' })
    expect(run.stderr).toMatch(
      /necesita Node 20\.10 .*es Node 18\.20\.4[\s\S]*Debian 12 trae Node 18[\s\S]*nodejs\.org/,
    )
  }
})

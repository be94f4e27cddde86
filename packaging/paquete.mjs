/**
 * `npm run paquete`: `resthooks-X.Y.Z.tar.gz`, which runs from any folder with Node alone, the same as a `.deb`, and their
 * SHA256SUMS, in `paquetes/` (or in the folder that is named). The same commit gives the same bytes.
 *
 * What a package holds is what npm would publish, besides what only an installed program has: the licences of what is in the
 * bundle, the manual page and the completions. Needs GNU tar, gzip and dpkg-deb; without the last one it makes no .deb and says so.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const root = fileURLToPath(new URL('../', import.meta.url))
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const name = `resthooks-${manifest.version}`
const target = resolve(process.argv[2] ?? join(root, 'paquetes'))
const work = await mkdtemp(join(tmpdir(), 'resthooks-paquete-'))
process.umask(0o022)

/** Each shell's, and where Debian's looks for it below /usr/share. */
const COMPLETIONS = /** @type {const} */ ([
  ['bash', 'resthooks.bash', 'bash-completion/completions/resthooks'],
  ['zsh', '_resthooks', 'zsh/vendor-completions/_resthooks'],
  ['fish', 'resthooks.fish', 'fish/vendor_completions.d/resthooks.fish'],
])

try {
  const folder = join(work, name)
  await programInto(folder)
  await setDates(folder)
  await mkdir(target, { recursive: true })
  const made = [await archive(folder), await debianPackage(folder)].flatMap((file) => file ?? [])
  const sums = await Promise.all(
    made.map(
      async (file) =>
        `${createHash('sha256')
          .update(await readFile(file))
          .digest('hex')}  ${basename(file)}\n`,
    ),
  )
  await writeFile(join(target, 'SHA256SUMS'), sums.join(''))
  process.stdout.write(`${[...made, join(target, 'SHA256SUMS')].join('\n')}\n`)
} finally {
  await rm(work, { recursive: true, force: true })
}

/** @param {string} folder */
async function programInto(folder) {
  const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', '--silent'], {
    cwd: root,
    encoding: 'utf8',
  })
  /** @type {{ path: string, mode: number }[]} */
  const files = JSON.parse(listed)[0].files
  for (const { path, mode } of files) {
    await mkdir(join(folder, dirname(path)), { recursive: true })
    await copyFile(join(root, path), join(folder, path))
    await chmod(join(folder, path), mode & 0o111 ? 0o755 : 0o644)
  }
  await rename(join(folder, 'dist/NOTICE'), join(folder, 'NOTICE'))
  // Nothing of it is installed by npm any more.
  const { scripts: _, devDependencies: __, dependencies: ___, allowScripts: ____, ...rest } = manifest
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(rest, null, 2)}\n`)
  await mkdir(join(folder, 'completado'))
  for (const [shell, file] of COMPLETIONS) {
    const script = execFileSync(process.execPath, [join(folder, 'bin/resthooks'), 'completar', shell])
    await writeFile(join(folder, 'completado', file), script)
  }
}

/**
 * Of the commit: what is packed twice is the same.
 * @param {string} folder
 */
async function setDates(folder) {
  const date = sourceDate()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue
    await utimes(join(entry.parentPath ?? entry.path, entry.name), date, date)
  }
  await utimes(folder, date, date)
}

/** Seconds since the epoch. */
function sourceDate() {
  if (process.env.SOURCE_DATE_EPOCH) return Number(process.env.SOURCE_DATE_EPOCH)
  const { status, stdout } = spawnSync('git', ['-C', root, 'log', '-1', '--format=%ct'], { encoding: 'utf8' })
  if (status === 0) return Number(stdout)
  throw new Error('Sin repositorio git no se sabe la fecha de los archivos: indíquela en SOURCE_DATE_EPOCH (segundos).')
}

/** @param {string} folder */
async function archive(folder) {
  const order = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu']
  const tar = execFileSync('tar', [...order, '-C', dirname(folder), '-cf', '-', basename(folder)], {
    maxBuffer: 256 * 1024 * 1024,
  })
  const file = join(target, `${name}.tar.gz`)
  await writeFile(file, gzipSync(tar, { level: 9 }))
  return file
}

/** Where each part of the program goes, as Debian wants it. @param {string} program */
async function debianPackage(program) {
  if (spawnSync('dpkg-deb', ['--version']).status !== 0) {
    process.stderr.write('Sin dpkg-deb no se hace el .deb.\n')
    return null
  }
  const folder = join(work, 'deb')
  const lib = join(folder, 'usr/lib/resthooks')
  const doc = join(folder, 'usr/share/doc/resthooks')
  const own = fileURLToPath(new URL('deb/', import.meta.url))
  for (const each of [
    'DEBIAN',
    'usr/bin',
    'usr/lib',
    'etc/resthooks',
    'etc/default',
    'etc/logrotate.d',
    'var/log/resthooks',
  ])
    await mkdir(join(folder, each), { recursive: true })
  await cp(program, lib, { recursive: true })
  /** @type {(from: string, to: string) => Promise<void>} */
  const move = async (from, to) => {
    await mkdir(dirname(to), { recursive: true })
    await rename(join(lib, from), to)
  }
  for (const each of ['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'NOTICE', 'docs'])
    await move(each, join(doc, each))
  for (const [, file, place] of COMPLETIONS) await move(join('completado', file), join(folder, 'usr/share', place))
  await rm(join(lib, 'completado'), { recursive: true })
  for (const page of await readdir(join(lib, 'dist/man'))) {
    const place = join(folder, 'usr/share/man', `man${page.split('.').at(-1)}`)
    await mkdir(place, { recursive: true })
    await writeFile(join(place, `${page}.gz`), gzipSync(await readFile(join(lib, 'dist/man', page)), { level: 9 }))
  }
  await cp(join(lib, 'contrib/resthooks.service'), join(folder, 'usr/lib/systemd/system/resthooks.service'))
  await cp(join(lib, 'contrib/logrotate'), join(folder, 'etc/logrotate.d/resthooks'))
  await cp(join(own, 'default'), join(folder, 'etc/default/resthooks'))
  const changes = gzipSync(await readFile(join(doc, 'CHANGELOG.md')), { level: 9 })
  await writeFile(join(doc, 'changelog.gz'), changes)
  await writeFile(join(doc, 'copyright'), `${await readFile(join(lib, 'LICENSE'), 'utf8')}\nVer también NOTICE.\n`)
  await symlink('../lib/resthooks/bin/resthooks', join(folder, 'usr/bin/resthooks'))

  await writeFile(join(folder, 'DEBIAN/conffiles'), '/etc/default/resthooks\n/etc/logrotate.d/resthooks\n')
  await writeFile(join(folder, 'DEBIAN/control'), control(await sizeOf(folder)))
  for (const script of ['postinst', 'prerm', 'postrm']) {
    await copyFile(join(own, script), join(folder, 'DEBIAN', script))
    await chmod(join(folder, 'DEBIAN', script), 0o755)
  }
  await setDates(folder)
  const file = join(target, `resthooks_${manifest.version}_all.deb`)
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', folder, file], {
    env: { ...process.env, SOURCE_DATE_EPOCH: String(sourceDate()) },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return file
}

/**
 * Node is no dependency: Debian 12's is too old, and those who have put another beside it have it where dpkg does not see it.
 * @param {number} kilobytes
 */
function control(kilobytes) {
  return `Package: resthooks
Version: ${manifest.version}
Architecture: all
Maintainer: resthooks contributors <resthooks@localhost>
Installed-Size: ${kilobytes}
Depends: adduser
Recommends: nodejs (>= 20.10)
Suggests: redis-server, postgresql, supervisor
Section: net
Priority: optional
Description: mensajes REST entre sistemas SIU
 Cola en Redis, entrega por HTTP con reintentos y auditoria en Postgres, para
 los sistemas de una universidad. Lee la configuracion de SIU-Toba.
 .
 Necesita Node 20.10 o posterior (recomendados: 22 y 24).
`
}

/** @param {string} folder */
async function sizeOf(folder) {
  return Number(execFileSync('du', ['-sk', '--apparent-size', folder], { encoding: 'utf8' }).split('\t')[0])
}

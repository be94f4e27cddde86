/**
 * Runs dist/send.cjs or dist/estado.cjs from V8's code cache, which saves compiling it each time (Node 20 has no cache of its own).
 *
 * V8 checks little of what it is given: code of another Node was taken, and failed in the middle. So the name says whose a
 * cache is: version of Node, architecture, and the hash that stands at the end of the bundle. A missing one is made by the owner
 * of the bundle when he runs it, and nobody else's is read: who may write it may write the bundle as well.
 */
const fs = require('node:fs')
const { basename, dirname, join } = require('node:path')
const { Script } = require('node:vm')

const FOLDER = join(__dirname, '..', 'dist')
const HASH_LENGTH = 16

/**
 * Where the compiled bundle lies.
 * @param {string} name of the command
 * @param {string} source of the bundle: a function in parentheses, and `//` with its hash as the last line
 */
function cacheFile(name, source) {
  return `${join(FOLDER, name)}.cjs.${process.version}-${process.arch}-${source.slice(-HASH_LENGTH - 1, -1)}.cache`
}
exports.cacheFile = cacheFile

/**
 * @param {'send' | 'estado'} name of the command
 * @param {string[]} words of the command line
 * @returns {boolean} false when they are another command's: nothing was done
 */
exports.run = (name, words) => {
  const bundle = join(FOLDER, `${name}.cjs`)
  // The bundle is plain ASCII: as Latin-1 it is read without decoding.
  const source = fs.readFileSync(bundle, 'latin1')
  const file = cacheFile(name, source)
  const cachedData = read(file, bundle)
  const script = new Script(source, { filename: bundle, cachedData })
  const loaded = { exports: /** @type {any} */ ({}) }
  script.runInThisContext()(loaded.exports, require, loaded, bundle, dirname(bundle))
  const isOurs = loaded.exports.start(words)
  // After a run that went well all that the next one needs is compiled.
  if (isOurs && cachedData === undefined) process.on('exit', (code) => code === 0 && keep(file, bundle, script))
  return isOurs
}

/**
 * The cache, where there is one that only the owner of the bundle, or root, can have written.
 * @param {string} file
 * @param {string} bundle
 */
function read(file, bundle) {
  let handle
  try {
    handle = fs.openSync(file, 'r')
  } catch {
    // Not there, or not for us: the bundle is compiled.
    return undefined
  }
  try {
    const { uid, mode } = fs.fstatSync(handle)
    const isOwners =
      process.platform === 'win32' || ((uid === 0 || uid === fs.statSync(bundle).uid) && (mode & 0o022) === 0)
    return isOwners ? fs.readFileSync(handle) : undefined
  } finally {
    fs.closeSync(handle)
  }
}

/**
 * @param {string} file
 * @param {string} bundle
 * @param {Script} script
 */
function keep(file, bundle, script) {
  const { uid, mode } = fs.statSync(bundle)
  if (process.geteuid && process.geteuid() !== uid) return
  const making = `${file}.${process.pid}`
  try {
    fs.writeFileSync(making, script.createCachedData(), { flag: 'wx' })
    // Whoever may read the bundle may read it, whatever the umask.
    fs.chmodSync(making, mode & 0o644)
    fs.renameSync(making, file)
    const ofThisNode = basename(file).slice(0, -HASH_LENGTH - '.cache'.length)
    for (const name of fs.readdirSync(dirname(file))) {
      const isOlder = name.startsWith(ofThisNode) && name.endsWith('.cache') && name !== basename(file)
      if (isOlder) fs.rmSync(join(dirname(file), name), { force: true })
    }
  } catch {
    // A disk that is full or read-only: the next run is as slow as this one.
    fs.rmSync(making, { force: true })
  }
}

/**
 * Runs dist/send.cjs from V8's code cache, which saves compiling it each time (Node 20 has no cache of its own).
 *
 * V8 checks little of what it is given: code of another Node was taken, and failed in the middle. So the name says whose a
 * cache is: version of Node, architecture, and the hash that stands at the end of the bundle. A missing one is made by the owner
 * of the bundle when he sends, and nobody else's is read: who may write it may write the bundle as well.
 */
const fs = require('node:fs')
const { basename, dirname, join } = require('node:path')
const { Script } = require('node:vm')

const BUNDLE = join(__dirname, '..', 'dist', 'send.cjs')
const HASH_LENGTH = 16

/**
 * Where the compiled bundle lies.
 * @param {string} source of the bundle, whose last line is `//` and its hash
 */
function cacheFile(source) {
  return `${BUNDLE}.${process.version}-${process.arch}-${source.slice(-HASH_LENGTH - 1, -1)}.cache`
}
exports.cacheFile = cacheFile

/**
 * @param {string[]} words of the command line
 * @returns {boolean} false when it is not `send`: nothing was done
 */
exports.send = (words) => {
  // The bundle is plain ASCII: as Latin-1 it is read without decoding.
  const source = fs.readFileSync(BUNDLE, 'latin1')
  const file = cacheFile(source)
  const cachedData = read(file)
  const script = new Script(`(function(exports,require,module,__filename,__dirname){${source}\n})`, {
    filename: BUNDLE,
    cachedData,
  })
  const loaded = { exports: /** @type {any} */ ({}) }
  script.runInThisContext()(loaded.exports, require, loaded, BUNDLE, dirname(BUNDLE))
  const isSend = loaded.exports.start(words)
  // After a send that went well all that the next one needs is compiled.
  if (isSend && cachedData === undefined) process.on('exit', (code) => code === 0 && keep(file, script))
  return isSend
}

/**
 * The cache, where there is one that only the owner of the bundle, or root, can have written.
 * @param {string} file
 */
function read(file) {
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
      process.platform === 'win32' || ((uid === 0 || uid === fs.statSync(BUNDLE).uid) && (mode & 0o022) === 0)
    return isOwners ? fs.readFileSync(handle) : undefined
  } finally {
    fs.closeSync(handle)
  }
}

/**
 * @param {string} file
 * @param {Script} script
 */
function keep(file, script) {
  const { uid, mode } = fs.statSync(BUNDLE)
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
    // A disk that is full or read-only: the next send is as slow as this one.
    fs.rmSync(making, { force: true })
  }
}

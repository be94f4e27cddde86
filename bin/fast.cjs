/**
 * Runs dist/send.cjs from V8's code cache, which saves compiling it each time (Node 20 has no cache of its own).
 * A cache that is missing or of another Node version is ignored: the program is then compiled as always.
 */
const { readFileSync, renameSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { Script } = require('node:vm')

/** @returns false when the command line is not `send`: nothing was done */
exports.send = (words) => {
  const filename = join(__dirname, '..', 'dist', 'send.cjs')
  // The bundle is plain ASCII: as Latin-1 it is read without decoding.
  const source = readFileSync(filename, 'latin1')
  const making = process.env.RESTHOOKS_CODE_CACHE
  let cachedData
  try {
    if (!making) cachedData = readFileSync(`${filename}.cache`)
  } catch {
    // Not there: compiled below.
  }
  const script = new Script(`(function(exports,require,module,__filename,__dirname){${source}\n})`, {
    filename,
    cachedData,
  })
  const loaded = { exports: {} }
  script.runInThisContext()(loaded.exports, require, loaded, filename, join(__dirname, '..', 'dist'))
  if (making) {
    process.on('exit', () => {
      writeFileSync(`${making}.${process.pid}`, script.createCachedData())
      renameSync(`${making}.${process.pid}`, making)
    })
  }
  return loaded.exports.start(words)
}

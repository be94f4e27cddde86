/**
 * Sends once to a Redis that is none, so that the code cache of `send` (`fast.cjs`) is there for this Node: after a build, and
 * when the package is installed. Where it cannot, `send` merely starts slower.
 */
const { spawn } = require('node:child_process')
const { existsSync } = require('node:fs')
const { createServer } = require('node:net')
const { join } = require('node:path')

const root = join(__dirname, '..')

/** @returns {Promise<void>} when it is there, or is not going to be */
exports.warm = () =>
  new Promise((resolve) => {
    // In a checkout, packages are installed before the program is built.
    if (!existsSync(join(root, 'dist', 'send.cjs'))) return resolve()
    const redis = createServer((socket) => {
      socket.on('error', () => {})
      // One answer for each command.
      socket.on('data', (bytes) => {
        const commands = bytes.toString('latin1').match(/^\*\d+\r$/gm) ?? []
        socket.write(':1\r\n'.repeat(commands.length))
      })
    })
    redis.listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (redis.address())
      const config = join(root, 'resthooks.ini.example')
      const child = spawn(
        process.execPath,
        [join(__dirname, 'resthooks'), 'send', 'evento', '{}', '--config', config],
        {
          env: {
            PATH: process.env.PATH,
            REST_HOOKS_REDIS_HOST: '127.0.0.1',
            REST_HOOKS_REDIS_PORT: String(port),
            REST_HOOKS_ACTIVO: '1',
          },
          stdio: 'ignore',
          timeout: 20_000,
        },
      )
      const end = () => {
        redis.close()
        resolve()
      }
      child.once('error', end)
      child.once('exit', end)
    })
    redis.once('error', () => resolve())
  })

if (require.main === module) void exports.warm()

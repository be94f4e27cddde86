/**
 * A foreign program: LPUSHes over its own socket, without a line of resthooks. Takes `id<TAB>entry` lines on stdin,
 * tells `ok id` once Redis acknowledged, or `duda id` when the connection broke before: that one may or may not be there,
 * and is not sent again.
 */
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const [port, key] = process.argv.slice(2)

let socket = /** @type {import('node:net').Socket | null} */ (null)
/** @type {((reply: string | null) => void) | null} */
let waiting = null

/** @returns {Promise<import('node:net').Socket>} */
async function connected() {
  for (;;) {
    if (socket && !socket.destroyed) return socket
    const fresh = connect(Number(port), '127.0.0.1')
    const worked = await new Promise((resolve) => {
      fresh.once('connect', () => resolve(true))
      fresh.once('error', () => resolve(false))
    })
    if (worked) {
      fresh.on('error', () => {})
      let text = ''
      fresh.on('data', (data) => {
        text += data
        if (text.endsWith('\r\n')) {
          waiting?.(text)
          text = ''
        }
      })
      fresh.on('close', () => waiting?.(null))
      socket = fresh
      return fresh
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/**
 * @param {string} entry
 * @returns {Promise<string | null>} null: the connection broke before the answer
 */
async function push(entry) {
  const to = await connected()
  const parts = ['LPUSH', /** @type {string} */ (key), entry].map(
    (part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`,
  )
  return new Promise((resolve) => {
    waiting = (reply) => {
      waiting = null
      resolve(reply)
    }
    to.write(`*3\r\n${parts.join('')}`)
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  const [id, entry] = /** @type {[string, string]} */ (line.split('\t'))
  for (;;) {
    const reply = await push(entry)
    if (reply?.startsWith(':')) {
      process.stdout.write(`ok ${id}\n`)
      break
    }
    if (reply === null) {
      process.stdout.write(`duda ${id}\n`)
      break
    }
    // Refused (LOADING, OOM, READONLY): surely not there. Again, over a new connection.
    socket?.destroy()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
socket?.destroy()

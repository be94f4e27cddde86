/**
 * COPY … FROM STDIN over a connection that the driver holds and is not using.
 *
 * Spoken here because the driver's own stream never ends when the server refuses the rows after their last byte (the
 * usual time for a duplicate), and copies them twice on the way. The protocol is small: Query, CopyInResponse, the rows,
 * CopyDone, CommandComplete or ErrorResponse, ReadyForQuery
 * (https://www.postgresql.org/docs/current/protocol-flow.html, «COPY Operations»).
 */
import type { Socket } from 'node:net'

const QUERY = 0x51
const COPY_DATA = 0x64
const COPY_DONE = 0x63
const COPY_IN_RESPONSE = 0x47
const ERROR_RESPONSE = 0x45
const READY_FOR_QUERY = 0x5a
/** Letter and length. */
const HEADER = 5
/** The server keeps a whole message in memory before it looks at it. */
const CHUNK = 256 * 1024

/** Fields of an ErrorResponse, by their letter, under the names that the driver gives them. */
const FIELDS: Readonly<Record<string, string>> = {
  V: 'severity',
  C: 'code',
  M: 'message',
  D: 'detail',
  W: 'where',
  t: 'table_name',
  n: 'constraint_name',
}

/**
 * Sends `rows` and waits for the server's word.
 * @param socket of a connection in a transaction, with no query under way; the listeners of its data step aside meanwhile
 * @throws an error like the driver's: `PostgresError` with a SQLSTATE, the connection still good unless it is FATAL; or the
 *   socket's own
 */
export function copyIn(socket: Socket, statement: string, rows: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const theirs = socket.listeners('data') as ((data: Buffer) => void)[]
    let refusal: Error | null = null
    let rest: Buffer = Buffer.alloc(0)

    const settle = (error: Error | null) => {
      socket.off('data', take).off('error', settle).off('close', closed)
      for (const listener of theirs) socket.on('data', listener)
      if (error) reject(error)
      else resolve()
    }
    const closed = () => settle(refusal ?? Object.assign(new Error('se cortó la conexión'), { code: 'ECONNRESET' }))
    const take = (data: Buffer) => {
      rest = rest.length === 0 ? data : Buffer.concat([rest, data])
      while (rest.length >= HEADER) {
        const end = 1 + rest.readUInt32BE(1)
        if (rest.length < end) return
        const message = rest.subarray(HEADER, end)
        const kind = rest[0]
        rest = rest.subarray(end)
        if (kind === COPY_IN_RESPONSE) sendRows(socket, rows)
        else if (kind === ERROR_RESPONSE) refusal ??= errorOf(message)
        else if (kind === READY_FOR_QUERY) return settle(refusal)
        // Else CommandComplete, a notice or a changed setting.
      }
    }

    for (const listener of theirs) socket.off('data', listener)
    socket.on('data', take).once('error', settle).once('close', closed)
    if (socket.destroyed) closed()
    else socket.write(message(QUERY, Buffer.from(`${statement}\0`)))
  })
}

function sendRows(socket: Socket, rows: Buffer) {
  socket.cork()
  for (let at = 0; at < rows.length; at += CHUNK) {
    const chunk = rows.subarray(at, at + CHUNK)
    socket.write(header(COPY_DATA, chunk.length))
    socket.write(chunk)
  }
  socket.write(header(COPY_DONE, 0))
  socket.uncork()
}

function header(kind: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER)
  bytes[0] = kind
  bytes.writeUInt32BE(length + HEADER - 1, 1)
  return bytes
}

function message(kind: number, content: Buffer): Buffer {
  return Buffer.concat([header(kind, content.length), content])
}

function errorOf(content: Buffer): Error {
  const fields: Record<string, string> = {}
  for (const part of content.toString('utf8').split('\0')) {
    const name = FIELDS[part[0] ?? '']
    if (name) fields[name] = part.slice(1)
  }
  return Object.assign(new Error(fields.message), fields, { name: 'PostgresError' })
}

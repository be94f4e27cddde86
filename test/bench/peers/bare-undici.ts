/** The limit: undici alone against the same nginx, the same body, no queue, nothing on record. */
import { Pool } from 'undici'
import { BODY_BYTES, body } from '../payload.ts'
import { configuration, serve } from '../program.ts'

export interface BareConfiguration {
  readonly origin: string
  readonly connections: number
}

const { origin, connections } = configuration<BareConfiguration>()
const pool = new Pool(origin, { connections })
const text = Buffer.from(body(1))
if (text.length !== BODY_BYTES) throw new Error(`the body has ${text.length} bytes`)
const headers = { 'content-type': 'application/json' }

async function post(count: number): Promise<null> {
  let left = count
  const loop = async () => {
    while (left-- > 0) {
      const { body: answer } = await pool.request({ path: '/directo', method: 'POST', headers, body: text })
      await answer.dump()
    }
  }
  await Promise.all(Array.from({ length: connections }, loop))
  return null
}

serve({ post })

/**
 * The passwords of the panel's users: in resthooks.ini stands what scrypt makes of them, with the cost that OWASP's list has for
 * 16 MB. One is computed at a time, so that those who guess take neither the memory nor the cores from the rest.
 */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'

const COST = { N: 16_384, r: 8, p: 5 }
const HASH_BYTES = 32
/** Of an entry that somebody made with a higher cost. */
const MOST_MEMORY = 256 * 1024 * 1024

/** `clave =` of a user. */
export async function passwordEntry(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derived(password, salt, HASH_BYTES, COST)
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), hash.toString('base64url')].join(':')
}

/** @param entry null: nobody has that name; it takes as long as when somebody has */
export async function isPassword(password: string, entry: string | null): Promise<boolean> {
  const [, n, r, p, salt = '', hash = ''] = (entry ?? NOBODY).split(':')
  const expected = Buffer.from(hash, 'base64url')
  const cost = { N: Number(n), r: Number(r), p: Number(p) }
  const found = await derived(password, Buffer.from(salt, 'base64url'), expected.length, cost)
  return timingSafeEqual(found, expected) && entry !== null
}

export const SHORTEST_PASSWORD = 10

const NOBODY = `scrypt:${COST.N}:${COST.r}:${COST.p}:${'A'.repeat(22)}:${'A'.repeat(43)}`

let turn: Promise<unknown> = Promise.resolve()

function derived(password: string, salt: Buffer, length: number, cost: ScryptOptions): Promise<Buffer> {
  const mine = turn.then(
    () =>
      new Promise<Buffer>((resolve, reject) => {
        // As it was typed on one keyboard or another.
        const text = password.normalize('NFC')
        scrypt(text, salt, length, { ...cost, maxmem: MOST_MEMORY }, (error, key) =>
          error ? reject(error) : resolve(key),
        )
      }),
  )
  turn = mine.catch(() => {})
  return mine
}

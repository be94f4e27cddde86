/** `clave` of a user, as cheap as the file accepts it: a test has many of them. */
import { scryptSync } from 'node:crypto'

export function cheapEntry(password: string): string {
  const salt = Buffer.alloc(16, password)
  const hash = scryptSync(password, salt, 32, { N: 1024, r: 1, p: 1 })
  return `scrypt:1024:1:1:${salt.toString('base64url')}:${hash.toString('base64url')}`
}

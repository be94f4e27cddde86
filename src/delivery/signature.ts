/**
 * The Standard Webhooks signature: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`.
 *
 * With two secrets (while rotating) both signatures go into the header, separated by a space, so that a receiver that
 * knows either accepts. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHmac } from 'node:crypto'

/** The bytes of a `whsec_…` secret; the prefix may be missing, as the reference libraries accept. */
export function secretKey(secret: string): Buffer {
  return Buffer.from(secret.startsWith('whsec_') ? secret.slice(6) : secret, 'base64')
}

/**
 * The value of `webhook-signature`.
 * @param id        exactly as it goes into `webhook-id`
 * @param timestamp seconds since epoch, exactly as it goes into `webhook-timestamp`
 */
export function sign(keys: readonly Buffer[], id: string, timestamp: string, body: Buffer): string {
  let header = ''
  for (const key of keys) {
    const digest = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
    header += `${header === '' ? '' : ' '}v1,${digest}`
  }
  return header
}

/**
 * Networks that a listener's address must not lie in (`redes_bloqueadas`).
 *
 * Pure. An address is judged by all that it means: several kinds of IPv6 address carry an IPv4 one, to which a translator
 * or a tunnel on the way brings the connection, and the unspecified address reaches this very machine.
 */
import { BlockList, isIP } from 'node:net'

/** Link-local (where the clouds keep their metadata service) and the metadata addresses outside of it. */
export const METADATA_NETWORKS: readonly string[] = [
  '169.254.0.0/16',
  'fe80::/10',
  'fd00:ec2::254/128',
  '100.100.100.200/32',
  '168.63.129.16/32',
]

/** The CIDR ranges as a list to check against. @throws with the one that is no network */
export function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/')
    const version = isIP(address)
    const bits = prefix === undefined ? (version === 6 ? 128 : 32) : Number(prefix)
    try {
      list.addSubnet(address, bits, version === 6 ? 'ipv6' : 'ipv4')
    } catch (cause) {
      throw new Error(`redes_bloqueadas: "${range}" no es una red`, { cause })
    }
  }
  return list
}

export function isBlocked(list: BlockList, address: string): boolean {
  return meanings(address).some((each) => list.check(each, isIP(each) === 6 ? 'ipv6' : 'ipv4'))
}

function meanings(address: string): string[] {
  if (isIP(address) === 4) return address === '0.0.0.0' ? [address, '127.0.0.1'] : [address]
  const groups = groupsOf(address)
  const inside = embedded(groups)
  const unspecified = groups.every((group) => group === 0) ? ['::1'] : []
  return [address, ...unspecified, ...(inside === null ? [] : meanings(inside))]
}

/** The IPv4 address inside an IPv6 one, or null. */
function embedded(groups: readonly number[]): string | null {
  const [a, b, c, d, e, f, g, h] = groups as [number, number, number, number, number, number, number, number]
  const isZero = (...some: number[]) => some.every((group) => group === 0)
  // IPv4-compatible and IPv4-mapped (RFC 4291 §2.5.5), NAT64 (RFC 6052, 8215).
  if (isZero(a, b, c, d, e) && (f === 0 || f === 0xffff)) return dotted(g, h)
  if (a === 0x64 && b === 0xff9b && ((c === 0 && isZero(d, e, f)) || c === 1)) return dotted(g, h)
  // 6to4 (RFC 3056), Teredo (RFC 4380 §4, with every bit turned over).
  if (a === 0x2002) return dotted(b, c)
  if (a === 0x2001 && b === 0) return dotted(g ^ 0xffff, h ^ 0xffff)
  return null
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

/** The eight groups of an IPv6 address, whatever its spelling. */
function groupsOf(address: string): number[] {
  const text = address.replace(/%.*/, '').replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...bytes: string[]) => {
    const [p, q, r, s] = bytes.map(Number) as [number, number, number, number]
    return `${((p << 8) | q).toString(16)}:${((r << 8) | s).toString(16)}`
  })
  const [left, right] = text.split('::').map((half) => (half === '' ? [] : half.split(':'))) as [string[], string[]?]
  const middle = right === undefined ? [] : Array<string>(8 - left.length - right.length).fill('0')
  return [...left, ...middle, ...(right ?? [])].map((group) => Number.parseInt(group, 16))
}

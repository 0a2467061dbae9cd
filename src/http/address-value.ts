/** IP addresses as numbers. */
import { isIP } from 'node:net'

/** Of a plain IPv4 or IPv6 address without zone, as its bits read. */
export function addressValue(address: string): bigint {
  if (isIP(address) === 4) return joined(address.split('.'), 256n)
  // The URL parser writes it with hexadecimal groups alone, and at most one `::`.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const left = groupsOf(head)
  const right = groupsOf(tail ?? '')
  const noughts = Array<string>(8 - left.length - right.length).fill('0')
  return joined(
    [...left, ...noughts, ...right].map((group) => `0x${group}`),
    65_536n,
  )
}

/** 32 bits as four decimal numbers. */
export const dottedAddress = (value: bigint): string =>
  [24n, 16n, 8n, 0n].map((bits) => (value >> bits) & 255n).join('.')

const groupsOf = (text: string): string[] => (text === '' ? [] : text.split(':'))

const joined = (parts: string[], base: bigint): bigint =>
  parts.reduce((sum, part) => sum * base + BigInt(part), 0n)

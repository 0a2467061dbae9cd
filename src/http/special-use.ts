/**
 * Which addresses belong to nobody on the public internet: the table behind the guarded way out
 * (DR-31; RFC 6890 and the IANA special-purpose registries).
 *
 * An IPv6 address that carries an IPv4 one is judged by what it carries, where the network would
 * deliver it there: IPv4-mapped (`::ffff:0:0/96`) and NAT64 (`64:ff9b::/96`). The other ways to
 * hide an IPv4 address in an IPv6 one (6to4, Teredo, IPv4-compatible, SIIT) are refused outright.
 */
import { BlockList, isIP } from 'node:net'
import { addressValue, dottedAddress } from './address-value.ts'

/** True for every address that may not be called by default, and for what is no address at all. */
export function isSpecialUse(address: string): boolean {
  const judged = effectiveAddress(address)
  return judged === undefined || holds(SPECIAL_USE, judged)
}

/** What this machine answers itself: 127.0.0.0/8, also IPv4-mapped, and ::1. */
export function isLoopback(address: string): boolean {
  return effectiveAddress(address) !== undefined && holds(LOOPBACK, address)
}

/**
 * The address a packet would end up at: the embedded IPv4 address, or the address itself.
 * Undefined for anything but a plain address; an IPv6 zone (`%eth0`) names a local link.
 */
export function effectiveAddress(address: string): string | undefined {
  if (isIP(address) === 0 || address.includes('%')) return undefined
  if (isIP(address) === 4 || !holds(CARRIES_IPV4, address)) return address
  return dottedAddress(addressValue(address) & 0xffff_ffffn)
}

/**
 * Address blocks, apart by family: one BlockList for both would read an IPv4 address as its
 * IPv4-mapped form and find it in every IPv6 block around ::.
 */
export type Blocks = { ipv4: BlockList; ipv6: BlockList }

/** @throws RangeError or TypeError (Node.js) for a block that is none. */
export function blocks(...cidrs: string[]): Blocks {
  const made = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const cidr of cidrs) {
    const [net = '', prefix] = cidr.split('/')
    const family = isIP(net) === 6 ? 'ipv6' : 'ipv4'
    made[family].addSubnet(net, Number(prefix), family)
  }
  return made
}

export function holds({ ipv4, ipv6 }: Blocks, address: string): boolean {
  return isIP(address) === 6 ? ipv6.check(address, 'ipv6') : ipv4.check(address, 'ipv4')
}

const SPECIAL_USE = blocks(
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // shared, behind a carrier's NAT
  '127.0.0.0/8', // loopback
  '169.254.0.0/16', // link-local, cloud metadata services among them
  '172.16.0.0/12', // private
  '192.0.0.0/24', // IETF protocol assignments
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relays, withdrawn
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, and broadcast

  // Outside 2000::/3 nothing is global unicast: here lie ::, ::1, ::/96, 100::/64, fc00::/7,
  // fe80::/10, fec0::/10, ff00::/8, and whatever the registries add next.
  '::/3',
  '4000::/2',
  '8000::/1',
  '2001::/23', // IETF protocol assignments, Teredo among them
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '3fff::/20', // documentation
)

const LOOPBACK = blocks('127.0.0.0/8', '::ffff:127.0.0.0/104', '::1/128')
const CARRIES_IPV4 = blocks('::ffff:0:0/96', '64:ff9b::/96')

/**
 * What no relying app has for an address, though a wide entry of the operator's may hold it:
 * where clouds hand out the credentials of a machine, above all.
 */
export const NEEDS_OWN_ENTRY = blocks(
  '0.0.0.0/8',
  '100.100.100.200/32', // metadata at Alibaba
  '169.254.0.0/16', // link-local, metadata nearly everywhere
  '192.0.0.192/32', // metadata at Oracle
  '224.0.0.0/3', // multicast, reserved, broadcast
  '::/128',
  'fd00:ec2::/32', // metadata and the like at Amazon
  'fd20:ce::254/128', // metadata at Google
  'fe80::/10',
  'ff00::/8',
)

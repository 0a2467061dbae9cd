/**
 * What the operator lets through although it is special-use, or on a port other than 443:
 * the setting OUTBOUND_ALLOW, entries separated by commas.
 *
 *   10.1.0.0/16            any host with such an address        port 443
 *   10.1.2.3, fd00::/8     likewise                             port 443
 *   crm.corp.example       this host, wherever its name leads   port 443
 *   crm.corp.example:8443  this host, wherever its name leads   that port
 *   10.1.0.0/16:8443, [fd00::/8]:8443   such an address         that port
 *
 *  1. An entry without a port means port 443: a whole network on all its ports would be databases
 *     and caches too.
 *  2. A host is compared whole; there are no wildcards.
 *  3. Metadata services, link-local and multicast addresses need an entry of their own, a single
 *     address: neither a host nor a block around them lets them through.
 *  4. Blocks of IPv4-mapped and NAT64 addresses mean the IPv4 addresses that they carry.
 */
import { isIP } from 'node:net'
import { addressValue } from './address-value.ts'
import { isHostName } from './host-name.ts'
import { type Blocks, blocks, effectiveAddress, holds, NEEDS_OWN_ENTRY } from './special-use.ts'

export type AllowRule = { port: number } & (
  | { host: string }
  | { blocks: Blocks; isSingle: boolean }
)

/**
 * The entries of a setting, checked, so that a bad one stops the start rather than a request.
 * @throws Error that names the bad entry and says what it should be
 */
export function parseAllowList(text: string): string[] {
  const entries = text.split(',').map((entry) => entry.trim())
  const written = entries.filter((entry) => entry !== '')
  for (const entry of written) readAllowRule(entry)
  return written
}

/** @throws Error that names the bad entry and says what it should be */
export function readAllowRule(entry: string): AllowRule {
  const { target, port } = splitPort(entry)
  if (target === undefined || port === undefined || port < 1 || port > 65535) throw badEntry(entry)
  const block = readBlock(target)
  if (block) return { ...block, port }
  const host = readHost(target)
  if (host === undefined) throw badEntry(entry)
  return { host, port }
}

/** Whether this rule speaks of this host at this address; the port is for the caller to compare. */
export function ruleCovers(rule: AllowRule, host: string, address: string): boolean {
  const effective = effectiveAddress(address)
  if (effective === undefined) return false
  if (holds(NEEDS_OWN_ENTRY, effective) && !('blocks' in rule && rule.isSingle)) return false
  return 'host' in rule ? rule.host === host : holds(rule.blocks, effective)
}

/** Whether it could, for what is not yet known of the host's addresses. */
export function ruleMayCover(rule: AllowRule, host: string): boolean {
  return 'blocks' in rule || rule.host === host
}

function splitPort(entry: string): { target?: string | undefined; port?: number } {
  const bracketed = /^\[([^[\]]+)\](?::(\d{1,5}))?$/.exec(entry)
  if (bracketed) {
    const isIPv6 = isIP(bracketed[1]?.split('/')[0] ?? '') === 6
    return isIPv6 ? { target: bracketed[1], port: Number(bracketed[2] ?? 443) } : {}
  }
  const [target, port, ...more] = entry.split(':')
  if (more.length > 0 || port === undefined) return { target: entry, port: 443 }
  return /^\d{1,5}$/.test(port) ? { target, port: Number(port) } : {}
}

function readBlock(target: string): { blocks: Blocks; isSingle: boolean } | undefined {
  const [written = '', prefix, ...more] = target.split('/')
  const family = isIP(written)
  if (family === 0 || written.includes('%') || more.length > 0) return undefined
  const longest = family === 6 ? 128 : 32
  if (prefix !== undefined && !/^\d{1,3}$/.test(prefix)) return undefined
  const length = prefix === undefined ? longest : Number(prefix)
  if (length > longest || !isFirst(written, length)) return undefined
  const address = effectiveAddress(written) ?? written
  const isCarried = family === 6 && isIP(address) === 4 && length >= 96
  const block = isCarried ? `${address}/${length - 96}` : `${written}/${length}`
  return { blocks: blocks(block), isSingle: length === longest }
}

/** 10.1.2.3/8 is a slip of the pen: whoever wrote it meant less, or something else. */
function isFirst(address: string, length: number): boolean {
  const rest = BigInt((isIP(address) === 6 ? 128 : 32) - length)
  const value = addressValue(address)
  return (value >> rest) << rest === value
}

/**
 * As a URL would spell it, so that the two can be compared. A number in disguise is refused, and what
 * was meant for an address: 10.1.0.0-16.
 */
function readHost(target: string): string | undefined {
  const url = URL.parse(`https://${target}`)
  if (!url || url.host !== url.hostname || /[/?#@\\%*]/.test(target)) return undefined
  const host = url.hostname.replace(/\.$/, '')
  return isHostName(host) && isIP(host) === 0 && !/^\d+\.\d+\./.test(host) ? host : undefined
}

function badEntry(entry: string): Error {
  return new Error(
    `${JSON.stringify(entry)} is not an address, a CIDR block, a host or a host:port ` +
      '(examples: 10.1.0.0/16, [fd00::/8]:8443, crm.corp.example, crm.corp.example:8443)',
  )
}

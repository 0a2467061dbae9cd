/**
 * What the operator lets through although it is special-use, or on a port other than 443:
 * the setting OUTBOUND_ALLOW, entries separated by commas.
 *
 *   10.1.0.0/16            any host with such an address        port 443
 *   10.1.2.3, fd00::/8     likewise                             port 443
 *   crm.corp.example       this host, whatever its address      port 443
 *   crm.corp.example:8443  this host, whatever its address      that port
 *   10.1.0.0/16:8443, [fd00::/8]:8443   such an address         that port
 *
 * An entry without a port says something about addresses alone: a whole network on all its ports
 * would be databases and caches too. A host is compared whole; there are no wildcards.
 */
import { isIP } from 'node:net'
import { isHostName } from './host-name.ts'
import { type Blocks, blocks, effectiveAddress, holds } from './special-use.ts'

export type AllowRule = { port: number } & ({ host: string } | { blocks: Blocks })

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
  if (block) return { blocks: block, port }
  const host = readHost(target)
  if (host === undefined) throw badEntry(entry)
  return { host, port }
}

/** Whether this rule speaks of this host at this address; the port is for the caller to compare. */
export function ruleCovers(rule: AllowRule, host: string, address: string): boolean {
  if ('host' in rule) return rule.host === host
  const effective = effectiveAddress(address)
  if (effective === undefined) return false
  return holds(rule.blocks, address) || holds(rule.blocks, effective)
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

function readBlock(target: string): Blocks | undefined {
  const [address = '', prefix, ...more] = target.split('/')
  const family = isIP(address)
  if (family === 0 || address.includes('%') || more.length > 0) return undefined
  const longest = family === 6 ? 128 : 32
  if (prefix === undefined) return blocks(`${address}/${longest}`)
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) > longest) return undefined
  return blocks(`${address}/${prefix}`)
}

/** As a URL would spell it, so that the two can be compared; a number in disguise is refused. */
function readHost(target: string): string | undefined {
  const url = URL.parse(`https://${target}`)
  if (!url || url.host !== url.hostname || /[/?#@\\%*]/.test(target)) return undefined
  const host = url.hostname.replace(/\.$/, '')
  return isHostName(host) && isIP(host) === 0 ? host : undefined
}

function badEntry(entry: string): Error {
  return new Error(
    `${JSON.stringify(entry)} is not an address, a CIDR block, a host or a host:port ` +
      '(examples: 10.1.0.0/16, [fd00::/8]:8443, crm.corp.example, crm.corp.example:8443)',
  )
}

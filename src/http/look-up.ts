/** Names to addresses. The only file that asks a name server; who may be called is judged elsewhere. */
import dns from 'node:dns/promises'

/** Every address of a host. May reject; must not answer anything but addresses. */
export type Lookup = (host: string) => Promise<string[]>

/** As the operating system resolves names, /etc/hosts included: private networks live there. */
export async function lookUpAll(host: string): Promise<string[]> {
  const found = await dns.lookup(host, { all: true, order: 'verbatim' })
  return found.map(({ address }) => address)
}

/**
 * Whoever asks for a name while it is being looked up gets that answer; nothing is remembered.
 *
 * A look-up cannot be called off and holds a thread of the few there are. If each try for a host whose
 * name server is silent began another one, those would queue up before everybody else's.
 */
export function shareLookups(lookup: Lookup): Lookup {
  const underWay = new Map<string, Promise<string[]>>()
  return (host) => {
    const known = underWay.get(host)
    if (known) return known
    const asked = lookup(host).finally(() => underWay.delete(host))
    underWay.set(host, asked)
    return asked
  }
}

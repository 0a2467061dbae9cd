/** One challenge of `WWW-Authenticate`; the names of its scheme and parameters are in lower case. */
export type Challenge = { scheme: string; params: Map<string, string> }

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
const QUOTED = '"((?:[^"\\\\]|\\\\.)*)"'
/** What lies between two commas, those in quotes apart. */
const ITEM = /(?:[^",]|"(?:[^"\\]|\\.)*")+/y
/** A parameter, the first of its challenge after the name of the scheme. */
const PARAM = new RegExp(
  `^(?:(${TOKEN})[ \\t]+)?(${TOKEN})[ \\t]*=[ \\t]*(?:(${TOKEN})|${QUOTED})$`,
)
/** A scheme without parameters, or with its credentials in one piece, as Basic and Negotiate have them. */
const SCHEME = new RegExp(`^(${TOKEN})(?:[ \\t]+[A-Za-z0-9\\-._~+/]+=*)?$`)

/**
 * The challenges of a field value (RFC 9110 §11.6.1), of several fields too once they are joined with commas.
 * A challenge that gives a parameter twice does not count, for which of them is meant is not ours to say; nor
 * does one with a fault in it, and nothing after that is read.
 */
export function parseChallenges(value: string): Challenge[] {
  const challenges: Challenge[] = []
  const faulty = new Set<Challenge>()
  const sound = () => challenges.filter((challenge) => !faulty.has(challenge))
  for (const item of itemsOf(value)) {
    const [, scheme, name, token, quoted = ''] = PARAM.exec(item) ?? []
    const begins = name === undefined ? SCHEME.exec(item)?.[1] : scheme
    if (begins !== undefined) {
      challenges.push({ scheme: begins.toLowerCase(), params: new Map() })
    }
    const current = challenges.at(-1)
    if (current === undefined) return []
    if (name === undefined) {
      if (begins !== undefined) continue
      faulty.add(current)
      return sound()
    }
    if (current.params.has(name.toLowerCase())) faulty.add(current)
    current.params.set(name.toLowerCase(), token ?? quoted.replace(/\\(.)/g, '$1'))
  }
  return sound()
}

/** An item that does not end where it should is given as it is, and fits nothing. */
function itemsOf(value: string): string[] {
  const items: string[] = []
  let at = 0
  while (at < value.length) {
    ITEM.lastIndex = at
    const [item = value.slice(at)] = value[at] === ',' ? [''] : (ITEM.exec(value) ?? [])
    const next = at + item.length
    const whole = next === value.length || value[next] === ','
    const text = (whole ? item : value.slice(at)).trim()
    if (text !== '') items.push(text)
    at = whole ? next + 1 : value.length
  }
  return items
}

/** Where a protected resource says that its metadata lies (RFC 9728 §5.1), by either scheme (DR-01). */
export const metadataUrlOf = (wwwAuthenticate: string | undefined): string | undefined =>
  parseChallenges(wwwAuthenticate ?? '')
    .filter(({ scheme }) => scheme === 'bearer' || scheme === 'dpop')
    .map(({ params }) => params.get('resource_metadata'))
    .find((url) => url !== undefined)

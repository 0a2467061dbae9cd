/**
 * Seconds from now that an answer may be used again, by its own headers (RFC 9111 §4.2.1): nought or less when
 * it may not, undefined when it does not say.
 */
export function freshness(headers: Record<string, string>, now: Date): number | undefined {
  const directives = directivesOf(headers['cache-control'] ?? '')
  if (directives.some(([name]) => name === 'no-store' || name === 'no-cache')) return 0
  const told = directives.flatMap(([name, value]) => (name === 'max-age' ? [value] : []))
  if (told.length > 0) {
    // What is said twice, or is no number, is taken to be the least of all it may mean.
    return Math.min(...told.map(secondsOf)) - secondsOf(headers.age)
  }
  if (headers.expires === undefined) return undefined
  const made = Date.parse(headers.date ?? '')
  const lifetime = Date.parse(headers.expires) - (Number.isNaN(made) ? now.getTime() : made)
  return Number.isNaN(lifetime) ? 0 : lifetime / 1000
}

const directivesOf = (header: string): [name: string, value: string][] =>
  header.split(',').map((directive) => {
    const [name = '', value = ''] = directive.split('=')
    return [name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1')]
  })

const secondsOf = (text = ''): number => (/^\d{1,10}$/.test(text) ? Number(text) : 0)

/** As much of a browser as signing in takes: redirects, cookies, and a form with its hidden fields. */

interface Page {
  url: URL
  html: string
}

const MAX_STEPS = 12

/**
 * Opens `start`, fills in the sign-in form where one appears, and returns the address at which the server
 * sends the browser back to the application.
 * @throws when another page appears, or the form comes back.
 */
export async function browse(
  start: URL,
  application: string,
  fields: Record<string, string>,
): Promise<URL> {
  const cookies = new Map<string, string>()
  let url = start
  let body: URLSearchParams | undefined
  let filled = false
  for (let step = 0; step < MAX_STEPS; step++) {
    const answer = await fetch(url, {
      redirect: 'manual',
      headers: {
        accept: 'text/html',
        cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(body && { origin: start.origin, referer: url.href, 'sec-fetch-site': 'same-origin' }),
      },
      ...(body && { method: 'POST', body }),
    })
    keepCookies(cookies, answer.headers.getSetCookie())
    const html = await answer.text()
    const location = answer.headers.get('location')
    if (location) {
      url = new URL(location, url)
      body = undefined
      if (url.href.startsWith(application)) return url
      if (url.origin !== start.origin) throw new Error(`sent away to ${url.origin}`)
      continue
    }
    const form = formWith('password', { url, html })
    if (!form || filled) throw new Error(`${answer.status} at ${url.pathname}: ${titleOf(html)}`)
    filled = true
    url = form.action
    body = new URLSearchParams({ ...form.hidden, ...fields })
  }
  throw new Error('redirected in circles')
}

function keepCookies(cookies: Map<string, string>, set: string[]): void {
  for (const line of set) {
    const [pair = ''] = line.split(';')
    const equals = pair.indexOf('=')
    const value = pair.slice(equals + 1)
    if (value === '' || /;\s*max-age=0/i.test(line)) cookies.delete(pair.slice(0, equals))
    else cookies.set(pair.slice(0, equals), value)
  }
}

function formWith(field: string, { url, html }: Page) {
  for (const [form, tag = ''] of html.matchAll(/<form\b([^>]*)>[\s\S]*?<\/form>/gi)) {
    const inputs = [...form.matchAll(/<input\b[^>]*>/gi)].map(([input]) => attributesOf(input))
    if (!inputs.some(({ name }) => name === field)) continue
    const hidden = inputs.filter(({ type, name }) => type === 'hidden' && name)
    return {
      action: new URL(attributesOf(tag).action || url, url),
      hidden: Object.fromEntries(hidden.map(({ name, value = '' }) => [name, value])),
    }
  }
  return undefined
}

function attributesOf(tag: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [, name = '', double, single, bare] of tag.matchAll(
    /([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))/g,
  )) {
    found[name.toLowerCase()] = unescapeHtml(double ?? single ?? bare ?? '')
  }
  return found
}

function unescapeHtml(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  return text.replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, (all, decimal, hex, name) => {
    if (name) return named[name] ?? all
    return String.fromCodePoint(decimal ? Number(decimal) : Number.parseInt(hex, 16))
  })
}

function titleOf(html: string): string {
  return /<h1[^>]*>([\s\S]*?)<\/h1>/i.exec(html)?.[1]?.trim() ?? html.slice(0, 200)
}

/** As much of a browser as the pages need: cookies, redirects one at a time, and forms with their hidden fields. */

export type Page = { url: URL; status: number; html: string; location: URL | undefined }
export type Browser = ReturnType<typeof createBrowser>

export function createBrowser() {
  const cookies = new Map<string, string>()

  async function visit(url: URL, form?: URLSearchParams): Promise<Page> {
    const answer = await fetch(url, {
      redirect: 'manual',
      headers: {
        accept: 'text/html',
        cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(form && { origin: url.origin }),
      },
      ...(form && { method: 'POST', body: form }),
    })
    for (const line of answer.headers.getSetCookie()) keepCookie(cookies, line)
    const location = answer.headers.get('location')
    return {
      url,
      status: answer.status,
      html: await answer.text(),
      location: location === null ? undefined : new URL(location, url),
    }
  }

  return {
    open: (url: URL) => visit(url),
    /** Sends the page's form that has a field of this name, hidden fields included. */
    submit: (page: Page, field: string, chosen: Record<string, string | string[]>) => {
      const form = findForm(page, field)
      const body = new URLSearchParams(form.hidden)
      for (const [name, values] of Object.entries(chosen)) {
        for (const value of [values].flat()) body.append(name, value)
      }
      return visit(form.action, body)
    },
  }
}

function keepCookie(cookies: Map<string, string>, line: string): void {
  const [pair = ''] = line.split(';')
  const equals = pair.indexOf('=')
  const [name, value] = [pair.slice(0, equals), pair.slice(equals + 1)]
  if (value === '' || /;\s*max-age=0/i.test(line)) cookies.delete(name)
  else cookies.set(name, value)
}

/** @throws when the page has no such form */
function findForm({ html, url }: Page, field: string) {
  for (const [text, tag = ''] of html.matchAll(/<form\b([^>]*)>[\s\S]*?<\/form>/gi)) {
    const fields = [...text.matchAll(/<(?:input|button)\b[^>]*>/gi)].map(([one]) => attributes(one))
    if (!fields.some(({ name }) => name === field)) continue
    const hidden = fields.filter(({ type, name }) => type === 'hidden' && name !== undefined)
    return {
      action: new URL(attributes(tag).action ?? url, url),
      hidden: hidden.map(({ name = '', value = '' }): [string, string] => [name, value]),
    }
  }
  throw new Error(`${url.pathname} shows no form with a field "${field}"`)
}

/** Values that a choice of this page may take, such as the boxes of `scope`. */
export const choices = ({ html }: Page, field: string): string[] =>
  [...html.matchAll(/<input\b[^>]*>/gi)]
    .map(([tag]) => attributes(tag))
    .filter(({ name }) => name === field)
    .map(({ value = '' }) => value)

export const heading = ({ html }: Page): string =>
  unescapeHtml(/<h1[^>]*>([\s\S]*?)<\/h1>/i.exec(html)?.[1]?.trim() ?? '')

function attributes(tag: string): Record<string, string | undefined> {
  const found: Record<string, string> = {}
  for (const [, name = '', value = ''] of tag.matchAll(/([\w-]+)="([^"]*)"/g)) {
    found[name.toLowerCase()] = unescapeHtml(value)
  }
  return found
}

function unescapeHtml(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" }
  return text.replace(/&([a-z]+|#39);/g, (all, name) => named[name] ?? all)
}

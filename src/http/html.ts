/** Markup that may be sent as it stands. Only `html` makes it: the symbol cannot come from a request. */
export type Html = { readonly [MARKUP]: string }

export type HtmlPart = Html | string | number | undefined | false | readonly HtmlPart[]

const MARKUP: unique symbol = Symbol('markup')

/**
 * A piece of a page. What is inserted is escaped, unless it is itself such a piece; lists are joined,
 * `undefined` and `false` leave nothing. Attributes are written with double quotes.
 */
export function html(strings: TemplateStringsArray, ...parts: HtmlPart[]): Html {
  return { [MARKUP]: strings.map((text, index) => text + write(parts[index])).join('') }
}

export const htmlText = (piece: Html): string => piece[MARKUP]

/** Text that needs no escaping because it is ours: the stylesheet. Never give it anything received. */
export const trusted = (text: string): Html => ({ [MARKUP]: text })

function write(part: HtmlPart): string {
  if (part === undefined || part === false) return ''
  if (typeof part === 'string' || typeof part === 'number') return escapeText(String(part))
  return isList(part) ? part.map(write).join('') : part[MARKUP]
}

const isList = (part: HtmlPart): part is readonly HtmlPart[] => Array.isArray(part)

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escapeText = (text: string): string =>
  text.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? '')

import type { FastifyReply } from 'fastify'
import { type Html, type HtmlPart, html, htmlText, trusted } from './html.ts'
import { ICON } from './icon.ts'
import { STYLE, STYLE_SOURCE } from './style.ts'

export type Page = {
  title: string
  body: HtmlPart
  /** Room for lists and tables. */
  wide?: boolean
  status?: number
  /**
   * A form of this page ends in a redirect to another origin. Chromium applies `form-action` to every
   * redirect that follows a submission, also to those behind the client's own callback, which nobody
   * can list beforehand: such a page goes without the directive.
   */
  leadsAway?: boolean
}

/** Sends a page. It works without JavaScript, and none would run. */
export function sendPage(reply: FastifyReply, page: Page): FastifyReply {
  if (page.leadsAway) reply.header('content-security-policy', contentSecurityPolicy(true))
  return reply
    .code(page.status ?? 200)
    .header('content-type', 'text/html; charset=utf-8')
    .send(htmlText(document(page)))
}

/** Headers of everything the users' door answers, redirects and errors included (SE-04). */
export const PAGE_HEADERS = {
  'content-security-policy': contentSecurityPolicy(false),
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
} as const

function contentSecurityPolicy(leadsAway: boolean): string {
  const directives = [
    `default-src 'none'`,
    `style-src ${STYLE_SOURCE}`,
    `img-src 'self' data:`,
    `base-uri 'none'`,
    `frame-ancestors 'none'`,
  ]
  if (!leadsAway) directives.push(`form-action 'self'`)
  return directives.join('; ')
}

const document = ({ title, body, wide }: Page): Html => html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="${ICON}">
<title>${title}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<main${wide ? html` class="wide"` : ''}>
${body}
</main>
</body>
</html>
`

/** What went wrong, read out at once. With the focus where no field of the form takes it. */
export const alert = (text: string, { focus = false } = {}): Html =>
  html`<p class="alert" role="alert" id="alert"${focus && html` tabindex="-1" autofocus`}>${text}</p>`

export const hidden = (name: string, value: string): Html =>
  html`<input type="hidden" name="${name}" value="${value}">`

/** Several hidden fields; what is undefined is left out. */
export const hiddenFields = (fields: Record<string, string | undefined>): Html[] =>
  Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [hidden(name, value)],
  )

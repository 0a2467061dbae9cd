import type { Parameter, Reference, Response } from './openapi-document.ts'
import { PROBLEMS } from './problem.ts'

/** What many calls share, once. */

export const PROBLEM: Response = {
  description: `Problem details (RFC 9457). \`type\` is \`/problems/\` and one of: ${Object.entries(
    PROBLEMS,
  )
    .map(([code, [status]]) => `\`${code}\` (${status})`)
    .join(', ')}.`,
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}

export const OAUTH_ERROR: Response = {
  description:
    'An OAuth error (RFC 6749 §5.2): `error` is for programs, the description for people.',
  content: { 'application/json': { schema: { $ref: '#/components/schemas/OAuthError' } } },
}

const page = (description: string): Response => ({
  description,
  content: { 'text/html': { schema: { type: 'string' } } },
})
export const PAGES: Record<string, Response> = {
  Page: page('A page for people'),
  Elsewhere: { description: 'The browser goes on to `Location`, with GET' },
  ErrorPage: page('A page that says what is wrong and what to do now'),
}

export const IDEMPOTENCY_KEY: Parameter = {
  name: 'Idempotency-Key',
  in: 'header',
  description:
    'Makes it safe to send the call again: for 24 hours the same key with the same body gives the first answer, without what is shown only once; a user is shown as they are by then. With another body it is refused',
  schema: { type: 'string', pattern: '^[\\x21-\\x7e]{1,255}$' },
}

export const responseNamed = (name: string): Reference => ({
  $ref: `#/components/responses/${name}`,
})

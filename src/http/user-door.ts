/**
 * The users' door: pages for people. What every room behind it shares: its cookies, the anti-forgery
 * check of its forms, its headers, and its dialect for errors, which is a page.
 *
 * Two cookies: the session's, and before there is one, a random value that the forms are bound to.
 * Neither says anything; what a session is, sessions/ knows.
 */

import type {} from '@fastify/cookie'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { newSecret } from '../oauth/secret.ts'
import { csrfMatches, csrfToken } from './csrf.ts'
import { logFailure } from './error-log.ts'
import { readForms } from './form.ts'
import { type Html, html } from './html.ts'
import { alert, hidden, PAGE_HEADERS, sendPage } from './page.ts'
import { PageError, SignInNeeded } from './page-error.ts'
import { isPassing, RETRY_AFTER } from './unavailable.ts'

type Surroundings = { config: { issuer: string } }

/** Call it first in the scope whose routes are for people; the server reads cookies already. */
export function openUserDoor(app: FastifyInstance): void {
  readForms(app)
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(PAGE_HEADERS)
  })
  app.setErrorHandler(userErrorHandler)
}

/** The value of the session cookie, whether or not a session still stands behind it. */
export const readSessionToken = (deps: Surroundings, request: FastifyRequest) =>
  readCookie(request, cookieName(deps, 'session'))

/** Sets the cookie of a new session; the forms are bound to it from here on. */
export function setSessionToken(deps: Surroundings, reply: FastifyReply, token: string): void {
  clearCookie(deps, reply, 'sign-in')
  setCookie(deps, reply, 'session', token)
}

export function clearSessionToken(deps: Surroundings, reply: FastifyReply): void {
  clearCookie(deps, reply, 'session')
}

/** The hidden field that a form needs: `requireCsrf` looks for it when the form comes back. */
export function csrfField(deps: Surroundings, request: FastifyRequest, reply: FastifyReply): Html {
  const known = readFormCookie(deps, request)
  const cookie = known ?? newSecret()
  if (known === undefined) setCookie(deps, reply, 'sign-in', cookie)
  return hidden('csrf', csrfToken(cookie))
}

/** @throws {PageError} 403 unless the form came from a page that we sent to this very browser. */
export function requireCsrf(deps: Surroundings, request: FastifyRequest): void {
  const { csrf } = (request.body ?? {}) as { csrf?: unknown }
  if (csrfMatches(readFormCookie(deps, request), csrf)) return
  throw new PageError(
    403,
    'This form has expired',
    'Go back, reload the page and send the form again. If that does not help, allow cookies for this site.',
  )
}

/** The users' door's dialect: a page with the right status that says what to do. */
export function userErrorHandler(
  error: FastifyError | PageError | SignInNeeded,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  reply.headers(PAGE_HEADERS)
  if (error instanceof SignInNeeded) {
    return reply.redirect(`/sign-in?return_to=${encodeURIComponent(error.returnTo)}`, 303)
  }
  const known = error instanceof PageError ? error : asPageError(error)
  const { link } = known
  logFailure(request, { status: known.status, cause: known.cause, error })
  if (known.retryAfter !== undefined) reply.header('retry-after', String(known.retryAfter))
  return sendPage(reply, {
    status: known.status,
    title: known.title,
    body: html`<div class="card"><h1>${known.title}</h1>${alert(known.message)}${link && html`<p><a href="${link.href}">${link.text}</a></p>`}</div>`,
  })
}

function asPageError(error: FastifyError): PageError {
  const status = error.statusCode ?? 500
  if (error.validation || (status >= 400 && status < 500)) {
    return new PageError(
      error.validation ? 400 : status,
      'This request cannot be read',
      'Go back, reload the page and try again.',
    )
  }
  if (isPassing(error)) {
    return new PageError(
      503,
      'We are busy or restarting',
      'Nothing was lost that you were told is done. Try again in a moment.',
      { retryAfter: RETRY_AFTER, cause: error },
    )
  }
  return new PageError(
    500,
    'Something went wrong on our side',
    'It was logged. Try again in a moment.',
    { cause: error },
  )
}

type CookieKind = 'session' | 'sign-in'

const readFormCookie = (deps: Surroundings, request: FastifyRequest) =>
  readSessionToken(deps, request) ?? readCookie(request, cookieName(deps, 'sign-in'))

/** Only what we could have set: 256 bits in base64url. */
function readCookie(request: FastifyRequest, name: string): string | undefined {
  const value = request.cookies[name]
  return value !== undefined && /^[A-Za-z0-9_-]{43}$/.test(value) ? value : undefined
}

function setCookie(deps: Surroundings, reply: FastifyReply, kind: CookieKind, value: string): void {
  reply.setCookie(cookieName(deps, kind), value, attributes(deps))
}

function clearCookie(deps: Surroundings, reply: FastifyReply, kind: CookieKind): void {
  reply.clearCookie(cookieName(deps, kind), attributes(deps))
}

/** SE-06; browsers refuse `Secure` and the prefix over plain http, which only a loopback issuer has. */
const isSecure = ({ config }: Surroundings) => config.issuer.startsWith('https:')

const cookieName = (deps: Surroundings, kind: CookieKind) =>
  isSecure(deps) ? `__Host-${kind}` : kind

const attributes = (deps: Surroundings) => ({
  path: '/',
  httpOnly: true,
  sameSite: 'lax' as const,
  secure: isSecure(deps),
})

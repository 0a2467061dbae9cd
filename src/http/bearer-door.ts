/**
 * The dialect of a door whose callers carry an access token (RFC 6750, RFC 9449 §7): JSON in and out, and
 * errors in the words of the auth.md provider guide beside those of OAuth. `message` is what its services read.
 */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { DPOP_ALGS } from '../oauth/dpop-key.ts'
import { OAuthError, type OAuthErrorCode, type OAuthErrorDetails } from '../oauth/errors.ts'
import { asOAuthError, NO_STORE } from './client-door.ts'
import { logFailure } from './error-log.ts'
import { FORM_LIMIT } from './form.ts'
import { isUtf8, type JsonFault, readJsonObject } from './json-object.ts'

export type BearerCode =
  | OAuthErrorCode
  | 'unauthorized'
  | 'consent_required'
  | 'missing_verified_email'
  | 'not_found'

/** `challenge` is for `WWW-Authenticate`. */
type Details = Pick<OAuthErrorDetails, 'members' | 'retryAfter' | 'dpopNonce' | 'cause'> & {
  challenge?: string | undefined
}

/** An error meant for whoever carries the token; its words are shown as they stand. */
export class BearerError extends Error {
  readonly status: number
  readonly code: BearerCode
  readonly details: Details

  constructor(status: number, code: BearerCode, description: string, details: Details = {}) {
    super(description, { cause: details.cause })
    this.name = 'BearerError'
    this.status = status
    this.code = code
    this.details = details
  }
}

export type Scheme = 'Bearer' | 'DPoP'
/** As it was sent. The scheme says what it is meant to be: `DPoP`, a token bound to a key. */
export type BearerToken = { scheme: Scheme; token: string }

/** The access token of an Authorization header; undefined where there is none. */
export function readBearer(authorization: string | undefined): BearerToken | undefined {
  const [, scheme = '', token] = /^(Bearer|DPoP) +([\w.~+/-]+=*)$/i.exec(authorization ?? '') ?? []
  if (token === undefined) return undefined
  return { scheme: /^dpop$/i.test(scheme) ? 'DPoP' : 'Bearer', token }
}

const ASKING: Record<Scheme, string> = {
  Bearer: 'Bearer realm="agent-idp"',
  DPoP: `DPoP realm="agent-idp", algs="${DPOP_ALGS.join(' ')}"`,
}

/** How to ask, for a request that has no token and is told no error code (RFC 6750 §3.1). */
export const EITHER_WAY = `${ASKING.Bearer}, ${ASKING.DPoP}`

/** What is wrong with the token that was sent (RFC 6750 §3, RFC 9470 §3). */
export const challenge = (scheme: Scheme, parameters: Record<string, string | number>): string =>
  [
    ASKING[scheme],
    ...Object.entries(parameters).map(([name, value]) => `${name}="${quoted(value)}"`),
  ].join(', ')

const quoted = (value: string | number) => String(value).replace(/["\\]/g, '\\$&')

const JSON_WANTED = 'Send the request as a JSON object (application/json)'

/** Reads JSON objects and nothing else; an empty body is none, for many clients name a type with every request. */
export function readJsonObjects(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer', bodyLimit: FORM_LIMIT },
    ({ headers }, body, done) => {
      const fits = isUtf8(headers['content-type'], body)
      const read = fits ? body.length === 0 || readJsonObject(body) : 'not_utf8'
      if (typeof read === 'string') done(new OAuthError('invalid_request', UNREADABLE[read]))
      else done(null, read === true ? undefined : read)
    },
  )
}

const UNREADABLE: Record<JsonFault, string> = {
  not_utf8: 'Send the request in UTF-8 and nothing else',
  not_json: `${JSON_WANTED}: this body is not valid JSON`,
  no_object: `${JSON_WANTED}: this body is JSON, but not an object`,
  unstorable: 'The body holds U+0000 or half a surrogate pair, which cannot be kept: leave it out',
  too_deep: 'The body is nested too deeply',
}

export function bearerErrorHandler(
  error: FastifyError | OAuthError | BearerError,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const known =
    error instanceof BearerError || error instanceof OAuthError
      ? error
      : asOAuthError(error, JSON_WANTED)
  const { retryAfter, dpopNonce, members, cause } = known.details
  logFailure(request, { status: known.status, code: known.code, cause, error })
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  if (dpopNonce !== undefined) reply.header('dpop-nonce', dpopNonce)
  if (known instanceof BearerError && known.details.challenge !== undefined) {
    reply.header('www-authenticate', known.details.challenge)
  }
  const { code, message } = known
  return reply
    .code(known.status)
    .headers(NO_STORE)
    .header('content-type', 'application/json; charset=utf-8')
    .send(JSON.stringify({ error: code, error_description: message, message, ...members }))
}

/**
 * The dialect of receivers of Shared Signals: JSON in and out, a token as in RFC 6750, and what is wrong in the
 * words of RFC 8935 §2.4, `{err, description}`.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { OAuthError } from '../oauth/errors.ts'
import { asOAuthError, NO_STORE } from './client-door.ts'
import { logFailure } from './error-log.ts'

export type SsfCode =
  | 'invalid_request'
  | 'invalid_token'
  | 'insufficient_scope'
  | 'not_found'
  | 'stream_exists'
  | 'too_many_requests'

type Details = {
  /** For `WWW-Authenticate`. */
  challenge?: string
  /** Seconds for `Retry-After`. */
  retryAfter?: number
}

/** An error meant for a receiver; its words are shown as they stand. */
export class SsfError extends Error {
  readonly status: number
  readonly code: SsfCode
  readonly details: Details

  constructor(status: number, code: SsfCode, description: string, details: Details = {}) {
    super(description)
    this.name = 'SsfError'
    this.status = status
    this.code = code
    this.details = details
  }
}

/** 400: a body or a parameter that is not as it should be. */
export const wrongRequest = (description: string) =>
  new SsfError(400, 'invalid_request', description)

const JSON_WANTED = 'Send the request as a JSON object (application/json)'

export function ssfErrorHandler(
  error: FastifyError | OAuthError | SsfError,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const known =
    error instanceof SsfError || error instanceof OAuthError
      ? error
      : asOAuthError(error, JSON_WANTED)
  const cause = known instanceof OAuthError ? known.details.cause : undefined
  logFailure(request, { status: known.status, code: known.code, cause, error })
  const { retryAfter } = known.details
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  if (known instanceof SsfError && known.details.challenge !== undefined) {
    reply.header('www-authenticate', known.details.challenge)
  }
  return reply
    .code(known.status)
    .headers(NO_STORE)
    .header('content-type', 'application/json; charset=utf-8')
    .header('content-language', 'en')
    .send(JSON.stringify({ err: known.code, description: known.message }))
}

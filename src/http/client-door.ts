import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { OAuthError } from '../oauth/errors.ts'
import { logFailure } from './error-log.ts'
import { faultsFound, sentenceOf } from './schema-fault.ts'
import { isPassing, RETRY_AFTER } from './unavailable.ts'

/** The clients' door's dialect: `{error, error_description}` (RFC 6749 §5.2), never to be cached (TX-40). */
export function oauthErrorHandler(
  error: FastifyError | OAuthError,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const known = error instanceof OAuthError ? error : asOAuthError(error)
  const { status, code } = known
  logFailure(request, { status, code, cause: known.details.cause, error })
  if (known.details.retryAfter !== undefined)
    reply.header('retry-after', String(known.details.retryAfter))
  if (known.details.dpopNonce !== undefined) reply.header('dpop-nonce', known.details.dpopNonce)
  if (known.details.basicChallenge) reply.header('www-authenticate', 'Basic realm="agent-idp"')
  return reply
    .code(known.status)
    .headers(NO_STORE)
    .header('content-type', 'application/json; charset=utf-8')
    .send(
      JSON.stringify({
        error: known.code,
        error_description: known.message,
        ...known.details.members,
      }),
    )
}

export const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' } as const

const FORM_WANTED = 'Send the request as application/x-www-form-urlencoded'

/**
 * What the caller is told of an error that is not one of ours.
 * @param wanted what a body should be here
 */
export function asOAuthError(error: FastifyError, wanted = FORM_WANTED): OAuthError {
  if (error.validation) {
    const [fault] = error.validation
    if (fault?.keyword === 'type' && fault.instancePath === '') {
      return new OAuthError('invalid_request', wanted)
    }
    const texts = wanted === FORM_WANTED || error.validationContext !== 'body'
    const [first] = faultsFound(error.validation, texts)
    return new OAuthError('invalid_request', printable(first ? sentenceOf(first) : wanted))
  }
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new OAuthError('invalid_request', wanted)
  }
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new OAuthError('invalid_request', 'The request body is larger than this server reads')
  }
  if ((error.statusCode ?? 500) < 500)
    return new OAuthError('invalid_request', 'The request is malformed')
  if (isPassing(error)) {
    return new OAuthError(
      'temporarily_unavailable',
      'The server is busy or restarting; ask again',
      {
        retryAfter: RETRY_AFTER,
        cause: error,
      },
    )
  }
  return new OAuthError('server_error', 'Something went wrong on our side; it was logged', {
    cause: error,
  })
}

/** What RFC 6749 §5.2 lets an error_description hold. */
const printable = (text: string) => text.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '')

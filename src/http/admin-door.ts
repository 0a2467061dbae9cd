import type {
  FastifyError,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  preValidationAsyncHookHandler,
} from 'fastify'
import { logFailure } from './error-log.ts'
import { isUtf8, readUtf8 } from './json-object.ts'
import { ProblemError, problemBody } from './problem.ts'
import { faultsFound, sentenceOf } from './schema-fault.ts'
import { isPassing, RETRY_AFTER } from './unavailable.ts'

/** The scopes of the admin API: `<resource>:read` or `<resource>:write`, or all of them. */
export const ADMIN_RESOURCES = [
  'tenants',
  'users',
  'agents',
  'audiences',
  'entitlements',
  'delegations',
  'rules',
  'revocations',
  'keys',
  'audit',
  'admin-keys',
  'metrics',
] as const
export type AdminScope = `${(typeof ADMIN_RESOURCES)[number]}:${'read' | 'write'}`

/** Who calls the admin API: the key of the environment, or a stored one. */
export type Admin = {
  id: string
  scopes: readonly string[]
  /** The call that is being answered. */
  request_id?: string
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the admin door's guard, before any handler of it runs. */
    admin: Admin
  }
  interface FastifyContextConfig {
    /** The scope that the admin door's guard asks for. */
    scope?: AdminScope
    /** Left out of the API reference. */
    undocumented?: boolean
  }
}

/**
 * Reads JSON and nothing else; a JSON merge patch (RFC 7396) by its own media type too. Many clients name
 * a type with every request, so that an empty body is none where none is needed.
 */
export function readJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>(
    ['application/json', 'application/merge-patch+json'],
    { parseAs: 'buffer' },
    (request, body, done) => {
      const text = readUtf8(body)
      if (!isUtf8(request.headers['content-type'], body)) {
        done(new ProblemError('unsupported_media_type', 'Send the body as JSON in UTF-8'))
      } else if (text === undefined) {
        done(
          new ProblemError('malformed_json', 'The body is not UTF-8: send JSON in that encoding'),
        )
      } else if (text === '') done(null, undefined)
      else void parse(request, text, done)
    },
  )
}

/** Where nothing has to be given: no body is an empty one. */
export const orNoBody: preValidationAsyncHookHandler = async (request) => {
  request.body ??= {}
}

/** The admin door's dialect: every error leaves as problem details. */
export function problemErrorHandler(
  error: FastifyError | ProblemError,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const problem = error instanceof ProblemError ? error : asProblem(error, request)
  const { status, code } = problem
  logFailure(request, { status, code, cause: problem.extra.cause, error })
  if (problem.code === 'unauthenticated')
    reply.header('www-authenticate', 'Bearer realm="agent-idp admin"')
  if (problem.extra.retryAfter !== undefined) {
    reply.header('retry-after', String(problem.extra.retryAfter))
  }
  return reply
    .code(problem.status)
    .header('content-type', 'application/problem+json')
    .header('cache-control', 'no-store')
    .send(JSON.stringify(problemBody(problem.code, problem.message, problem.extra)))
}

const SEND_OBJECT = 'Send a JSON object as the body'

function asProblem(error: FastifyError, { body, headers }: FastifyRequest): ProblemError {
  if (error.validation) {
    const inBody = error.validationContext === 'body'
    const [{ instancePath, keyword } = { instancePath: '', keyword: '' }] = error.validation
    if (inBody && instancePath === '' && keyword === 'type') {
      const nothing = body === undefined && headers['content-type'] !== undefined
      if (nothing) return new ProblemError('malformed_json', SEND_OBJECT)
      const errors = [{ pointer: '', detail: 'must be an object' }]
      return new ProblemError('validation_failed', SEND_OBJECT, { errors })
    }
    const errors = faultsFound(error.validation, error.validationContext !== 'body')
    const [first] = errors
    const says = first?.pointer ? sentenceOf(first) : `The body ${first?.detail}`
    return new ProblemError('validation_failed', says, { errors })
  }
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new ProblemError('malformed_json', SEND_OBJECT)
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ProblemError('unsupported_media_type', 'Send the body as application/json')
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ProblemError('too_large', 'The body is larger than this server reads')
  }
  if (error instanceof SyntaxError || (error.statusCode ?? 500) === 400) {
    return new ProblemError('malformed_json', SEND_OBJECT)
  }
  if (isPassing(error)) {
    return new ProblemError('unavailable', 'The database does not answer now; try again', {
      cause: error,
      retryAfter: RETRY_AFTER,
    })
  }
  return new ProblemError('internal_error', 'It was logged; try again later', { cause: error })
}

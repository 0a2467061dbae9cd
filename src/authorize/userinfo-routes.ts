import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { NO_STORE } from '../http/client-door.ts'
import type { FormFields } from '../http/form.ts'
import { OAuthError } from '../oauth/errors.ts'
import { userinfo } from './userinfo.ts'

const UserinfoResponse = Type.Object({
  sub: Type.String({ description: 'The same as in the ID token' }),
  name: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  email_verified: Type.Optional(Type.Boolean()),
  phone_number: Type.Optional(Type.String()),
  phone_number_verified: Type.Optional(Type.Boolean()),
})

const BearerError = Type.Object({
  error: Type.Optional(Type.String({ examples: ['invalid_token'] })),
  error_description: Type.Optional(Type.String()),
})

const REFUSALS = {
  invalid_token: [401, 'The access token is unknown, expired or revoked'],
  insufficient_scope: [403, 'The access token lacks the scope openid'],
} as const

/** The userinfo endpoint, OIDC Core §5.3: at the clients' door, for the bearer of an access token. */
export const userinfoRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const schema = {
    summary: 'Claims of the user whom an access token speaks of',
    tags: ['clients'],
    response: { 200: UserinfoResponse, 400: BearerError, 401: BearerError, 403: BearerError },
  }
  const answer = async (request: FastifyRequest, reply: FastifyReply) => {
    reply.headers(NO_STORE)
    const bearer = readBearer(request)
    if (bearer === undefined) {
      // A request without a token is told how to ask, and no error code (RFC 6750 §3.1).
      return reply.code(401).header('www-authenticate', 'Bearer realm="agent-idp"').send({})
    }
    const found = await userinfo(deps, bearer)
    if (!('refused' in found)) return found
    const [status, error_description] = REFUSALS[found.refused]
    const challenge = `Bearer realm="agent-idp", error="${found.refused}", error_description="${error_description}"`
    return reply
      .code(status)
      .header('www-authenticate', challenge)
      .send({ error: found.refused, error_description })
  }
  app.get('/oauth2/userinfo', { schema }, answer)
  app.post('/oauth2/userinfo', { schema }, answer)
}

/**
 * RFC 6750 §2.1 and §2.2; never from the address, where it would be logged (§2.3).
 * @throws {OAuthError} `invalid_request` for a token in two places.
 */
function readBearer(request: FastifyRequest): string | undefined {
  const [, inHeader] = /^Bearer +([\w.~+/-]+=*)$/i.exec(request.headers.authorization ?? '') ?? []
  const { access_token: inBody } = (request.body ?? {}) as FormFields
  if (inBody === undefined) return inHeader
  if (inHeader !== undefined || typeof inBody !== 'string') {
    throw new OAuthError('invalid_request', 'Send the access token once, in one place')
  }
  return inBody
}

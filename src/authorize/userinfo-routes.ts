import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { NO_STORE } from '../http/client-door.ts'
import type { FormFields } from '../http/form.ts'
import { dpopEndpoint } from '../oauth/dpop-endpoint.ts'
import { DPOP_ALGS } from '../oauth/dpop-key.ts'
import { OAuthError } from '../oauth/errors.ts'
import { type Presented, type UserinfoFault, userinfo } from './userinfo.ts'

const UserinfoResponse = Type.Object({
  sub: Type.String({ description: 'The same as in the ID token' }),
  name: Type.Optional(
    Type.String({ description: 'With the scope profile', examples: ['Kim Reyes'] }),
  ),
  email: Type.Optional(
    Type.String({ description: 'With the scope email', examples: ['kim@orbit.example'] }),
  ),
  email_verified: Type.Optional(Type.Boolean({ description: 'Whether somebody has verified it' })),
  phone_number: Type.Optional(
    Type.String({ description: 'With the scope phone', examples: ['+4915123456789'] }),
  ),
  phone_number_verified: Type.Optional(
    Type.Boolean({ description: 'Whether somebody has verified it' }),
  ),
})

const TokenError = Type.Object({
  error: Type.Optional(Type.String({ examples: ['invalid_token'] })),
  error_description: Type.Optional(Type.String()),
})

const TOLD: Record<UserinfoFault, readonly [status: 401 | 403, error: string, text: string]> = {
  invalid_token: [401, 'invalid_token', 'The access token is unknown, expired or revoked'],
  bound_token: [
    401,
    'invalid_token',
    'The access token is bound to a key: send it as DPoP, with a proof',
  ],
  wrong_key: [401, 'invalid_token', 'The access token is not bound to the key of the proof'],
  insufficient_scope: [403, 'insufficient_scope', 'The access token lacks the scope openid'],
  invalid_dpop_proof: [
    401,
    'invalid_dpop_proof',
    'The DPoP proof does not hold: it must be one signed JWT of now with typ dpop+jwt and a public jwk, the htm and htu of this request, the ath of the token and a new jti',
  ],
  use_dpop_nonce: [
    401,
    'use_dpop_nonce',
    'The DPoP proof needs the nonce of the DPoP-Nonce header',
  ],
}

const ASKING = {
  Bearer: 'Bearer realm="agent-idp"',
  DPoP: `DPoP realm="agent-idp", algs="${DPOP_ALGS.join(' ')}"`,
}

/** The userinfo endpoint, OIDC Core §5.3: at the clients' door, for who has an access token. */
export const userinfoRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const endpoint = dpopEndpoint(deps.config, '/oauth2/userinfo')
  const schema = {
    summary: 'Claims of the user whom an access token speaks of',
    description:
      'As the scopes of the token have it (OpenID Connect Core §5.4). An address or a phone number is there as it is known now, with whether it was verified.',
    tags: ['clients'],
    response: { 200: UserinfoResponse, 400: TokenError, 401: TokenError, 403: TokenError },
  }
  const answer = async (request: FastifyRequest, reply: FastifyReply) => {
    reply.headers(NO_STORE)
    const presented = readAccessToken(request)
    if (presented === undefined) {
      // A request without a token is told how to ask, and no error code (RFC 6750 §3.1).
      const ways = `${ASKING.Bearer}, ${ASKING.DPoP}`
      return reply.code(401).header('www-authenticate', ways).send({})
    }
    const found = await userinfo(deps, endpoint, presented)
    if (found.nonce !== undefined) reply.header('dpop-nonce', found.nonce)
    if ('claims' in found) return found.claims
    const [status, error, error_description] = TOLD[found.refused]
    const scheme = found.refused === 'bound_token' ? 'DPoP' : presented.scheme
    const challenge = `${ASKING[scheme]}, error="${error}", error_description="${error_description}"`
    return reply
      .code(status)
      .header('www-authenticate', challenge)
      .send({ error, error_description })
  }
  app.get('/oauth2/userinfo', { schema }, answer)
  app.post('/oauth2/userinfo', { schema }, answer)
}

/**
 * RFC 6750 §2.1 and §2.2, RFC 9449 §7.1; never from the address, where it would be logged (RFC 6750 §2.3).
 * @throws {OAuthError} `invalid_request` for a token in two places.
 */
function readAccessToken(request: FastifyRequest): Presented | undefined {
  const { authorization = '', dpop } = request.headers
  const [, scheme, inHeader] = /^(Bearer|DPoP) +([\w.~+/-]+=*)$/i.exec(authorization) ?? []
  const { access_token: inBody } = (request.body ?? {}) as FormFields
  const of = { method: request.method, dpop }
  if (inBody === undefined) {
    if (inHeader === undefined) return undefined
    return { scheme: /^dpop$/i.test(scheme ?? '') ? 'DPoP' : 'Bearer', token: inHeader, ...of }
  }
  if (inHeader !== undefined || typeof inBody !== 'string') {
    throw new OAuthError('invalid_request', 'Send the access token once, in one place')
  }
  return { scheme: 'Bearer', token: inBody, ...of }
}

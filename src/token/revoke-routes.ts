import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { authenticateAgent } from '../agents/authenticate.ts'
import { readClientCredentials } from '../agents/client-credentials.ts'
import type { Deps } from '../deps.ts'
import { NO_STORE } from '../http/client-door.ts'
import type { FormFields } from '../http/form.ts'
import { OAuthError } from '../oauth/errors.ts'
import { clientAlone, createGatherFacts } from './facts.ts'
import { createFailureLimits } from './limits.ts'
import { recogniseCaller, withDocument } from './recognise-caller.ts'
import { Refusal } from './refusals.ts'
import { revokeToken } from './revoke-token.ts'
import { OAuthErrorResponse, TokenRequest } from './schema.ts'

const { client_id, client_secret, client_assertion_type, client_assertion } =
  TokenRequest.properties

const RevocationRequest = Type.Object({
  token: Type.Optional(Type.String({ description: 'A refresh token, current or spent' })),
  token_type_hint: Type.Optional(Type.String({ examples: ['refresh_token'] })),
  client_id,
  client_secret,
  client_assertion_type,
  client_assertion,
})

/** The revocation endpoint, RFC 7009. A suspended agent may still give up what it holds. */
export const revocationRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const gatherFacts = createGatherFacts(deps.hot)
  const limits = createFailureLimits(deps)
  app.post(
    '/oauth2/revoke',
    {
      schema: {
        summary: 'Give up a refresh token',
        description:
          'RFC 7009. Ends the refresh token and all that came of the same code. 200 also for what is no token of this agent, or has ended; 400 for a signed token, which cannot be given up.',
        tags: ['clients'],
        consumes: ['application/x-www-form-urlencoded'],
        body: RevocationRequest,
        response: {
          200: Type.Unsafe<undefined>({
            type: 'null',
            description: 'Done, or there was nothing to do',
          }),
          '4xx': OAuthErrorResponse,
        },
      },
    },
    async (request, reply) => {
      reply.headers(NO_STORE)
      const fields = request.body as FormFields
      const { authorization } = request.headers
      const credentials = readClientCredentials(authorization, fields)
      const from = { request_id: request.id, address: request.ip }
      let agent_id: string | undefined
      try {
        const named = await recogniseCaller(deps, credentials, from)
        const { agent } = withDocument(await gatherFacts(clientAlone(named.id)), named)
        agent_id = agent?.id
        const client = await authenticateAgent(deps, credentials, agent)
        if ('refused' in client) throw new Refusal(client.refused)
        await revokeToken(deps, client, fields, { request_id: request.id })
        return reply.send(undefined)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        const { code, message, details } = error.toOAuthError()
        deps.metrics.refused(code, error.reason)
        const basicChallenge = code === 'invalid_client' && authorization !== undefined
        const told = new OAuthError(code, message, { ...details, basicChallenge })
        throw await limits.told(told, { address: request.ip, agent_id })
      }
    },
  )
}

import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { authenticateAgent } from '../agents/authenticate.ts'
import { type ClientCredentials, readClientCredentials } from '../agents/client-credentials.ts'
import type { Deps } from '../deps.ts'
import { NO_STORE } from '../http/client-door.ts'
import type { FormFields } from '../http/form.ts'
import { OAuthError } from '../oauth/errors.ts'
import { CLIENT_CREDENTIALS_GRANT, GRANT } from '../oauth/names.ts'
import { faultOfClient } from './client.ts'
import type { Caller } from './delegate-token.ts'
import { exchangeToken } from './exchange.ts'
import { clientAlone } from './facts.ts'
import { countClient, createFailureLimits } from './limits.ts'
import { keepProof, type Progress } from './progress.ts'
import { createProveKey } from './prove-key.ts'
import { grantToReceiver, refuseReceiver } from './receiver-token.ts'
import { recogniseCaller, withDocument } from './recognise-caller.ts'
import { redeemCode } from './redeem-code.ts'
import { refreshTokens } from './refresh.ts'
import { Refusal } from './refusals.ts'
import { readExchangeRequest } from './request.ts'
import { OAuthErrorResponse, TokenRequest, TokenResponse } from './schema.ts'
import { createSettleRefusal } from './settle-refusal.ts'
import { statementsOn } from './statements.ts'

const TOKEN_ENDPOINT = [
  'By `grant_type`: an ID token or refresh token of a user for an ID-JAG for one relying app (RFC 8693); a code, or a refresh token, for tokens of this server; of receivers of Shared Signals, their secret for an access token.',
  'Where the user has to say something first the answer is 400 `interaction_required` with an `interaction_uri`: open it in the browser of the user, then ask again. 429 and 503 say in `Retry-After` when to ask again; 500 is a fault of ours, which is in the log.',
].join('\n\n')

/** The token endpoint (RFC 6749 §3.2): one door for every grant. */
export const tokenRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const statements = statementsOn(deps.hot)
  const steps = { ...statements, proveKey: createProveKey(deps) }
  const settle = createSettleRefusal(deps, statements.recordRefusal, ({ code }) => code)
  const limits = createFailureLimits(deps)

  app.post(
    '/oauth2/token',
    {
      schema: {
        summary: 'Exchange an ID token for an ID-JAG, redeem a code, or refresh',
        description: TOKEN_ENDPOINT,
        tags: ['clients'],
        consumes: ['application/x-www-form-urlencoded'],
        body: TokenRequest,
        response: {
          200: TokenResponse,
          '4xx': OAuthErrorResponse,
          429: OAuthErrorResponse,
          500: OAuthErrorResponse,
          503: OAuthErrorResponse,
        },
      },
    },
    async (request, reply) => {
      reply.headers(NO_STORE)
      const fields = request.body
      const progress: Progress = { request_id: request.id, address: request.ip }
      try {
        const answered = await answer(fields, request.headers, progress)
        if (progress.nonce !== undefined) reply.header('dpop-nonce', progress.nonce)
        return answered
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        const { told, unauthenticated } = await settle(error, progress)
        if (!unauthenticated) throw told.toOAuthError()
        const { code, message, details } = told.toOAuthError()
        const basicChallenge =
          code === 'invalid_client' && request.headers.authorization !== undefined
        const agent_id = progress.facts?.agent?.id
        throw await limits.told(new OAuthError(code, message, { ...details, basicChallenge }), {
          address: request.ip,
          agent_id,
        })
      }
    },
  )

  async function answer(
    fields: TokenRequest,
    { authorization, dpop }: IncomingHttpHeaders,
    progress: Progress,
  ) {
    const caller = () => ({
      credentials: readClientCredentials(authorization, fields as FormFields),
      dpop,
    })
    switch (fields.grant_type) {
      case GRANT.tokenExchange: {
        const exchange = readExchangeRequest(fields, deps.config)
        const by = caller()
        await refuseReceiver(deps, by.credentials)
        return exchangeToken(deps, steps, by, exchange, progress)
      }
      case GRANT.authorizationCode:
        return openIdGrant(redeemCode, caller(), fields, progress)
      case GRANT.refreshToken:
        return openIdGrant(refreshTokens, caller(), fields, progress)
      case CLIENT_CREDENTIALS_GRANT: {
        const by = caller()
        const granted = await grantToReceiver(deps, by.credentials, fields.scope)
        return granted ?? openIdGrant(grantToNoAgent, by, fields, progress)
      }
    }
    throw new OAuthError(
      'unsupported_grant_type',
      'grant_type must be authorization_code, refresh_token, the token-exchange URN or, for receivers of Shared Signals, client_credentials',
    )
  }

  /** The grants of the OpenID Provider, which settle their own refusals once the client is known. */
  async function openIdGrant(
    grant: typeof redeemCode,
    { credentials, dpop }: Caller<ClientCredentials>,
    fields: TokenRequest,
    progress: Progress,
  ) {
    await refuseReceiver(deps, credentials)
    const client = await recogniseCaller(deps, credentials, progress)
    const facts = withDocument(await steps.gatherFacts(clientAlone(client.id)), client)
    progress.facts = facts
    const agent = await authenticateAgent(deps, credentials, facts.agent)
    if ('refused' in agent) throw new Refusal(agent.refused)
    progress.agent = agent
    countClient(deps, agent.agent)
    const fault = faultOfClient(agent.agent, fields.grant_type, deps.now())
    if (fault !== undefined) throw new Refusal(fault)
    const proof = keepProof(progress, steps.proveKey(dpop, agent.agent))
    // From here on the grant spends what was presented.
    progress.spent = true
    const { request_id } = progress
    return grant(deps, { ...agent, proof }, fields as FormFields, { request_id })
  }
}

/** No agent is enrolled for it, which whoever proves to be one is told. */
const grantToNoAgent: typeof redeemCode = async () => {
  throw new Refusal('grant_not_allowed')
}

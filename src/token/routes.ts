import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { authenticateAgent } from '../agents/authenticate.ts'
import { readClientCredentials } from '../agents/client-credentials.ts'
import { recordEvent } from '../audit/record.ts'
import { createSampler } from '../audit/sample.ts'
import type { Deps } from '../deps.ts'
import { NO_STORE } from '../http/client-door.ts'
import type { FormFields } from '../http/form.ts'
import { OAuthError } from '../oauth/errors.ts'
import { GRANT } from '../oauth/names.ts'
import { faultOfClient } from './client.ts'
import { type Caller, exchangeToken } from './exchange.ts'
import { createGatherFacts } from './facts.ts'
import { countClient, createFailureLimits, TooManyRequests, uncount } from './limits.ts'
import { keepProof, type Progress, toSpend } from './progress.ts'
import { createProveKey } from './prove-key.ts'
import { createRecordRefusal } from './record-refusal.ts'
import { redeemCode } from './redeem-code.ts'
import { refreshTokens } from './refresh.ts'
import { Refusal } from './refusals.ts'
import { readExchangeRequest } from './request.ts'
import { OAuthErrorResponse, TokenRequest, TokenResponse } from './schema.ts'
import { createRecordIssuance } from './spend-and-record.ts'

const REPLAYED = {
  replayed: 'replayed_assertion',
  replayed_proof: 'replayed_dpop_proof',
} as const

/** The token endpoint (RFC 6749 §3.2): one door for every grant. */
export const tokenRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const steps = {
    gatherFacts: createGatherFacts(deps.hot),
    proveKey: createProveKey(deps),
    recordIssuance: createRecordIssuance(deps.hot),
  }
  const recordRefusal = createRecordRefusal(deps.hot)
  const limits = createFailureLimits(deps)
  const sampled = createSampler({ perMinute: 60, now: deps.now })

  app.post(
    '/oauth2/token',
    {
      schema: {
        summary: 'Exchange an ID token for an ID-JAG, redeem a code, or refresh',
        tags: ['clients'],
        consumes: ['application/x-www-form-urlencoded'],
        body: TokenRequest,
        response: { 200: TokenResponse, '4xx': OAuthErrorResponse },
      },
    },
    async (request, reply) => {
      reply.headers(NO_STORE)
      const fields = request.body
      const progress: Progress = { request_id: request.id }
      try {
        const answered = await answer(fields, request.headers, progress)
        if (progress.nonce !== undefined) reply.header('dpop-nonce', progress.nonce)
        return answered
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        const byHeader = request.headers.authorization !== undefined
        const told = await settleRefusal(error, progress, byHeader)
        if (told.code !== 'invalid_client') throw told
        const agent_id = progress.facts?.agent?.id
        throw await limits.told(told, { address: request.ip, agent_id })
      }
    },
  )

  function answer(
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
        return exchangeToken(deps, steps, caller(), exchange, progress)
      }
      case GRANT.authorizationCode:
        return openIdGrant(redeemCode, caller(), fields, progress)
      case GRANT.refreshToken:
        return openIdGrant(refreshTokens, caller(), fields, progress)
      default:
        throw new OAuthError(
          'unsupported_grant_type',
          'grant_type must be authorization_code, refresh_token or the token-exchange URN',
        )
    }
  }

  /** The grants of the OpenID Provider, which settle their own refusals once the client is known. */
  async function openIdGrant(
    grant: typeof redeemCode,
    { credentials, dpop }: Caller,
    fields: TokenRequest,
    progress: Progress,
  ) {
    const facts = await steps.gatherFacts({
      client_id: credentials.clientId,
      audience: null,
      audience_other: null,
      family_id: null,
      refresh_hash: null,
      user_id: null,
    })
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
    const client = { ...agent, proof }
    return grant(deps, client, fields as FormFields, { request_id: progress.request_id })
  }

  /** Writes down why, spends the client assertion with it, and says what the caller is told (rule 6). */
  async function settleRefusal(
    refusal: Refusal,
    progress: Progress,
    byHeader: boolean,
  ): Promise<OAuthError> {
    const { agent, facts, subject, request_id } = progress
    if (agent === undefined || refusal.reason === 'replayed_assertion') {
      uncount(deps, { agent, subject })
      return unauthenticated(refusal, { request_id, agent_id: facts?.agent?.id }, byHeader)
    }
    const beyond = refusal instanceof TooManyRequests ? refusal : undefined
    const outcome = await recordRefusal({
      at: deps.now(),
      type: 'token.refused',
      tenant_id: agent.agent.tenant_id,
      agent_id: agent.agent.id,
      user_id: subject?.user.id ?? beyond?.user_id ?? null,
      audience_id: facts?.audience?.id ?? null,
      delegation_id: facts?.delegation?.id ?? null,
      error: refusal.code,
      reason: refusal.reason,
      request_id,
      ...toSpend(progress),
      audited: beyond?.first ?? true,
    })
    if (outcome === 'replayed') uncount(deps, { agent, subject }, refusal)
    const told = outcome === 'recorded' ? refusal : new Refusal(REPLAYED[outcome])
    deps.metrics.refused(told.code, told.reason)
    return told.toOAuthError()
  }

  /** What fails before the client is known is counted, and written only as a sample: a flood must not fill the disk. */
  async function unauthenticated(
    refusal: Refusal,
    of: { request_id: string; agent_id: string | undefined },
    byHeader: boolean,
  ): Promise<OAuthError> {
    deps.metrics.refused(refusal.code, refusal.reason)
    if (sampled()) {
      await recordEvent(deps.db, {
        type: 'token.refused',
        at: deps.now(),
        actor: { kind: 'unknown' },
        ...of,
        error: refusal.code,
        reason: refusal.reason,
      })
    }
    const told = refusal.toOAuthError()
    return new OAuthError(told.code, told.message, { basicChallenge: byHeader })
  }
}

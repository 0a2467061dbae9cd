import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { BearerError, readBearer } from '../http/bearer-door.ts'
import { NO_STORE } from '../http/client-door.ts'
import { IdParam } from '../http/shapes.ts'
import { dpopEndpoint } from '../oauth/dpop-endpoint.ts'
import { bearerErrorOf, codeAtDoor, tokenMissing } from './delegate-refusals.ts'
import { idJagAnswer, readAsked } from './delegate-request.ts'
import {
  BearerErrorResponse,
  Grant,
  GrantList,
  GrantPending,
  GrantRequest,
  IdJagRequest,
  IdJagResponse,
} from './delegate-schema.ts'
import { readDelegateToken } from './delegate-token.ts'
import { exchangeToken } from './exchange.ts'
import { askForGrant, findGrants, giveUpGrant, type Visit } from './grants.ts'
import { judgeKey } from './prove-key.ts'
import { Refusal } from './refusals.ts'
import { createSettleRefusal } from './settle-refusal.ts'
import { statementsOn } from './statements.ts'

const tags = ['clients']
const response = { '4xx': BearerErrorResponse }
const ON = 'There with `DELEGATE_TOKENS=on` alone. '

/**
 * The calls of the auth.md provider guide (TX-63, GR-05): other dresses of the exchange, for who carries a
 * purpose-issued token.
 */
export const delegateRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const statements = statementsOn(deps.hot)
  const settle = createSettleRefusal(deps, statements.recordRefusal, codeAtDoor)
  const endpoint = dpopEndpoint(deps.config, '')
  // Whoever carries no token learns that first, and not what is wrong with the body.
  app.addHook('onRequest', async ({ headers }) => {
    if (readBearer(headers.authorization) === undefined) throw tokenMissing()
  })

  app.post(
    '/id-jag',
    {
      schema: {
        summary: 'Get an ID-JAG with an access token that was issued for this',
        description: `${ON}The token exchange, in another dress: the same policy, the same record.`,
        tags,
        body: IdJagRequest,
        response: { 200: IdJagResponse, ...response },
      },
    },
    (request, reply) =>
      admitted(request, reply, async ({ steps, caller, progress }) => {
        const exchange = readAsked(request.body, caller.credentials.token, deps.config)
        return idJagAnswer(await exchangeToken(deps, steps, caller, exchange, progress))
      }),
  )

  app.get(
    '/grants',
    {
      schema: {
        summary: 'What the user allows this agent now',
        description: ON.trim(),
        tags,
        response: { 200: GrantList, ...response },
      },
    },
    (request, reply) =>
      admitted(request, reply, async (visit) => ({ grants: await findGrants(deps, visit) })),
  )

  app.post(
    '/grants',
    {
      schema: {
        summary: 'Ask the user for a grant',
        description: `${ON}Allows nothing by itself: 200 with the grant that covers it already, or 202 with the address where the user is asked.`,
        tags,
        body: GrantRequest,
        response: { 200: Grant, 202: GrantPending, ...response },
      },
    },
    (request, reply) =>
      admitted(request, reply, async (visit) => {
        const wanted = readAsked(request.body, visit.caller.credentials.token, deps.config)
        const asked = await askForGrant(deps, visit, wanted)
        if ('grant' in asked) return asked.grant
        reply.code(202)
        return { status: 'pending', ...asked }
      }),
  )

  app.delete(
    '/grants/:id',
    {
      schema: {
        summary: 'Give up a grant',
        description: ON.trim(),
        tags,
        params: Type.Object({ id: IdParam('grant') }),
        response: { 204: Type.Null(), ...response },
      },
    },
    (request, reply) =>
      admitted(request, reply, async (visit) => {
        const known = await giveUpGrant(deps, visit, request.params.id)
        if (!known)
          throw new BearerError(404, 'not_found', 'This user gave this agent no such grant')
        reply.code(204)
        return null
      }),
  )

  /** Lets in who carries a token, and tells what is refused in the words of this door. */
  async function admitted<Answer>(
    request: FastifyRequest,
    reply: FastifyReply,
    act: (visit: Visit) => Promise<Answer>,
  ): Promise<Answer> {
    reply.headers(NO_STORE)
    const presented = readBearer(request.headers.authorization)
    if (presented === undefined) throw tokenMissing()
    const { method, headers, url, id: request_id } = request
    const at = { ...endpoint, url: `${deps.config.issuer}${url.split('?')[0]}` }
    const accessToken = presented.token
    const visit: Visit = {
      steps: {
        ...statements,
        proveKey: (header, agent) =>
          judgeKey(at, { header, method, now: deps.now(), accessToken }, agent),
      },
      caller: { credentials: readDelegateToken(presented), dpop: headers.dpop },
      progress: { request_id, address: request.ip },
    }
    try {
      return await act(visit)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      const { told } = await settle(error, visit.progress)
      throw bearerErrorOf(told, presented.scheme)
    } finally {
      const { nonce } = visit.progress
      if (nonce !== undefined) reply.header('dpop-nonce', nonce)
    }
  }
}

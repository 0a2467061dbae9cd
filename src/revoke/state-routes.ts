import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { describeAgent } from '../agents/agent.ts'
import { AGENT_MOVES, type AgentMove } from '../agents/lifecycle.ts'
import { findAgent } from '../agents/queries.ts'
import { Agent } from '../agents/schema.ts'
import { describeAudience } from '../audiences/audience.ts'
import { AUDIENCE_MOVES, type AudienceMove } from '../audiences/lifecycle.ts'
import { findAudience } from '../audiences/queries.ts'
import { Audience } from '../audiences/schema.ts'
import type { Deps } from '../deps.ts'
import { endEntitlement } from '../entitlements/end.ts'
import { describeEntitlement } from '../entitlements/entitlement.ts'
import { endIfRunOut, putEntitlement } from '../entitlements/put.ts'
import { Entitlement, GivenEntitlement } from '../entitlements/schema.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { Tenant, TenantPatch } from '../tenants/schema.ts'
import { User, UserPatch } from '../users/schema.ts'
import { describeUser } from '../users/user.ts'
import { approvalRoutes } from './approval-routes.ts'
import { moveAgent, moveAudience, patchTenant, patchUser } from './change-state.ts'
import { endDelegationsOfPair, endTelling } from './end-delegations.ts'
import { StateChange, WithRevocation } from './schema.ts'

const PairParams = Type.Object({ id: IdParam('agent'), audience_id: IdParam('audience') })

/** Changes of a record's state that may end access. */
export const stateRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  for (const move of Object.keys(AGENT_MOVES) as AgentMove[]) {
    app.post(
      `/agents/:id/${move}`,
      {
        config: { scope: 'agents:write' },
        schema: {
          tags: ['agents'],
          summary: AGENT_SUMMARIES[move],
          params: Type.Object({ id: IdParam('agent') }),
          body: StateChange,
          response: { 200: WithRevocation(Agent), '4xx': Problem },
        },
      },
      ({ params: { id }, body, admin }) =>
        deps.db.transaction().execute(async (tx) => {
          const ended = await moveAgent(tx, deps, { id, move, reason: body?.reason }, admin)
          const agent = await findAgent(tx, id)
          if (!agent) throw notFound('agent')
          return { ...describeAgent(agent), ...ended }
        }),
    )
  }

  for (const move of Object.keys(AUDIENCE_MOVES) as AudienceMove[]) {
    app.post(
      `/audiences/:id/${move}`,
      {
        config: { scope: 'audiences:write' },
        schema: {
          tags: ['audiences'],
          summary: AUDIENCE_SUMMARIES[move],
          params: Type.Object({ id: IdParam('audience') }),
          body: StateChange,
          response: { 200: WithRevocation(Audience), '4xx': Problem },
        },
      },
      ({ params: { id }, body, admin }) =>
        deps.db.transaction().execute(async (tx) => {
          const ended = await moveAudience(tx, deps, { id, move, reason: body?.reason }, admin)
          const audience = await findAudience(tx, id)
          if (!audience) throw notFound('audience')
          return { ...describeAudience(audience), ...ended }
        }),
    )
  }

  app.patch(
    '/users/:id',
    {
      config: { scope: 'users:write' },
      schema: {
        tags: ['users'],
        summary: 'Change a user; suspending or deleting is a revocation',
        description: 'A new password, or none any more, signs the user out everywhere.',
        params: Type.Object({ id: IdParam('user') }),
        body: UserPatch,
        response: { 200: WithRevocation(User), '4xx': Problem },
      },
    },
    ({ params, body, admin }) =>
      deps.db.transaction().execute(async (tx) => {
        const { user, ...ended } = await patchUser(tx, deps, params.id, body, admin)
        return { ...describeUser(user), ...ended }
      }),
  )

  app.patch(
    '/tenants/:id',
    {
      config: { scope: 'tenants:write' },
      schema: {
        tags: ['tenants'],
        summary: 'Change a tenant; suspending is a revocation',
        params: Type.Object({ id: IdParam('tenant') }),
        body: TenantPatch,
        response: { 200: WithRevocation(Tenant), '4xx': Problem },
      },
    },
    ({ params, body, admin }) =>
      deps.db.transaction().execute(async (tx) => {
        const { tenant, ...ended } = await patchTenant(tx, deps, params.id, body, admin)
        return { ...tenant, ...ended }
      }),
  )

  app.put(
    '/agents/:id/entitlements/:audience_id',
    {
      config: { scope: 'entitlements:write' },
      schema: {
        tags: ['entitlements'],
        summary: 'Set what an agent may have at an audience',
        description:
          'Changes the entitlement that is live. One that has run out ends for good, with the delegations that rested on it, and a new one is made.',
        params: PairParams,
        body: GivenEntitlement,
        response: { 200: Entitlement, 201: Entitlement, '4xx': Problem },
      },
    },
    async ({ params, body, admin }, reply) => {
      const of = { agent_id: params.id, audience_id: params.audience_id }
      const { entitlement, created } = await deps.db.transaction().execute(async (tx) => {
        const ranOut = await endIfRunOut(tx, deps, of, admin)
        if (ranOut) await endDelegationsOfPair(tx, deps, of, admin)
        return putEntitlement(tx, deps, of, body, admin, (end) => endTelling(tx, deps, of, end))
      })
      reply.code(created ? 201 : 200)
      return describeEntitlement(entitlement, deps.now())
    },
  )

  app.delete(
    '/agents/:id/entitlements/:audience_id',
    {
      config: { scope: 'entitlements:write' },
      schema: {
        tags: ['entitlements'],
        summary: 'End an entitlement and the delegations that rest on it',
        params: PairParams,
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async ({ params, admin }, reply) => {
      const of = { agent_id: params.id, audience_id: params.audience_id }
      await deps.db.transaction().execute(async (tx) => {
        await endEntitlement(tx, deps, of, 'admin', admin)
        await endDelegationsOfPair(tx, deps, of, admin)
      })
      return reply.code(204).send(null)
    },
  )

  await app.register(approvalRoutes, deps)
}

const AGENT_SUMMARIES: Record<AgentMove, string> = {
  approve: 'Let a requested agent act',
  suspend: 'Stop an agent for now; a revocation',
  resume: 'Let a suspended agent act again; brings no delegation back',
  retire: 'Stop an agent for good; a revocation',
}

const AUDIENCE_SUMMARIES: Record<AudienceMove, string> = {
  suspend: 'Stop minting for an audience for now; a revocation',
  resume: 'Mint for a suspended audience again; brings no delegation back',
  retire: 'Stop minting for an audience for good; a revocation',
}

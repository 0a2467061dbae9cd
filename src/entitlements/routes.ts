import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { describeEntitlement } from './entitlement.ts'
import { agentExists, findEntitlement, findLastEntitlement, listEntitlements } from './queries.ts'
import { Entitlement, EntitlementQuery } from './schema.ts'

const tags = ['entitlements']
const PairParams = Type.Object({ id: IdParam('agent'), audience_id: IdParam('audience') })

/** What agents may have at audiences. Setting and ending it may end access, and live with revocation. */
export const entitlementRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/agents/:id/entitlements',
    {
      config: { scope: 'entitlements:read' },
      schema: {
        summary: 'List the entitlements of an agent, ended ones too',
        tags,
        params: Type.Object({ id: IdParam('agent') }),
        querystring: EntitlementQuery,
        response: { 200: ListOf(Entitlement), '4xx': Problem },
      },
    },
    async ({ params, query }) => {
      if (!(await agentExists(deps.db, params.id))) throw notFound('agent')
      const now = deps.now()
      const rows = await listEntitlements(deps.db, params.id, query, readList(query), now)
      const page = listPage(rows, query.limit)
      return { ...page, data: page.data.map((row) => describeEntitlement(row, now)) }
    },
  )

  app.get(
    '/agents/:id/entitlements/:audience_id',
    {
      config: { scope: 'entitlements:read' },
      schema: {
        summary:
          'Read the entitlement of an agent at an audience; where none is live, the last that was',
        tags,
        params: PairParams,
        response: { 200: Entitlement, '4xx': Problem },
      },
    },
    async ({ params }) => {
      const of = { agent_id: params.id, audience_id: params.audience_id }
      const entitlement =
        (await findEntitlement(deps.db, of)) ?? (await findLastEntitlement(deps.db, of))
      if (entitlement === undefined) throw notFound('entitlement')
      return describeEntitlement(entitlement, deps.now())
    },
  )
}

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { listPage, readList } from '../http/list.ts'
import { Problem } from '../http/problem-schema.ts'
import { effectiveStatus, type Delegation as Row } from './delegation.ts'
import { grantByAdmin } from './grant-by-admin.ts'
import { listDelegations } from './queries.ts'
import {
  Delegation,
  type DelegationAnswer,
  DelegationList,
  DelegationQuery,
  NewDelegation,
} from './schema.ts'

/** Delegations at the admin door. What ends one stands with revoke/, for it may end more. */
export const delegationRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.post(
    '/delegations',
    {
      config: { scope: 'delegations:write' },
      schema: {
        tags: ['delegations'],
        summary: 'Allow an agent to act for a user',
        description:
          'Stands in for the consent of the user, who sees it and can stop it. Replaces the live delegation of the same three.',
        body: NewDelegation,
        response: { 201: Delegation, '4xx': Problem },
      },
    },
    (request, reply) =>
      createOnce(deps, request, reply, [], async (tx) =>
        answer(
          { ...(await grantByAdmin(tx, deps, request.body, request.admin)), last_minted_at: null },
          deps.now(),
        ),
      ),
  )

  app.get(
    '/delegations',
    {
      config: { scope: 'delegations:read' },
      schema: {
        tags: ['delegations'],
        summary: 'List delegations, newest first',
        querystring: DelegationQuery,
        response: { 200: DelegationList, '4xx': Problem },
      },
    },
    async ({ query }) => {
      const now = deps.now()
      const { limit, cursor: _cursor, ...filter } = query
      const page = listPage(await listDelegations(deps.db, filter, readList(query), now), limit)
      return { ...page, data: page.data.map((row) => answer(row, now)) }
    },
  )
}

/** A field absent from the schema cannot leave. */
const answer = (row: Row & { last_minted_at: Date | null }, now: Date): DelegationAnswer => ({
  ...row,
  status: effectiveStatus(row, now),
})

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { approveChange, readUnproven } from '../audiences/approve.ts'
import { Approval } from '../audiences/discovery-schema.ts'
import { Audience } from '../audiences/schema.ts'
import type { Deps } from '../deps.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { ApprovedAudience } from './schema.ts'
import { tellMoved } from './tell-moved.ts'

/** What is found in documents, or changes there, comes into force; another issuer is another server. */
export const approvalRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.post(
    '/audiences/:id/approve-change',
    {
      config: { scope: 'audiences:write' },
      schema: {
        summary: 'Approve what was found, or what changed, in the documents of an audience',
        description:
          'Confirms its issuer and the hosts that `pending_change` lists, and mints for it from then on. What an administrator suspended stays suspended. Another issuer is another server: the one before is told to drop what it gave to whoever had access there. Their delegations stay.',
        tags: ['audiences'],
        params: Type.Object({ id: IdParam('audience') }),
        body: Approval,
        response: { 200: ApprovedAudience(Audience), '4xx': Problem },
      },
    },
    async ({ params: { id }, body, admin }) => {
      await readUnproven(deps, id)
      return deps.db
        .transaction()
        .execute((tx) =>
          approveChange(tx, deps, { id, ...body }, admin, () => tellMoved(tx, deps, id)),
        )
    },
  )
}

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { byAdmin } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListQuery, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { endDelegation } from './end.ts'
import { findRevocation, listRevocations } from './queries.ts'
import { requestRevocation } from './request.ts'
import { NewRevocation, RequestedRevocation, Revocation, RevocationList } from './schema.ts'
import { stateRoutes } from './state-routes.ts'

const tags = ['revocations']

/** The admin door's calls that end access, those of other records included. */
export const revokeRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.post(
    '/revocations',
    {
      config: { scope: 'revocations:write' },
      schema: {
        tags,
        summary: 'Stop everything that rests on one agent, user, audience, owner or tenant',
        description:
          'When it answers, nothing in its reach can be minted any more. The record named keeps its own state: suspend it to keep new delegations from being made.',
        body: NewRevocation,
        response: { 202: RequestedRevocation, '4xx': Problem },
      },
    },
    async (request, reply) => {
      const revoked = await createOnce(deps, request, reply, [], (tx) =>
        requestRevocation(tx, deps, request.body, request.admin),
      )
      return reply.code(202).send(revoked)
    },
  )

  app.get(
    '/revocations',
    {
      config: { scope: 'revocations:read' },
      schema: {
        tags,
        summary: 'List revocations, newest first',
        querystring: Type.Object({ ...ListQuery.properties }, { additionalProperties: false }),
        response: { 200: RevocationList, '4xx': Problem },
      },
    },
    async ({ query }) => listPage(await listRevocations(deps.db, readList(query)), query.limit),
  )

  app.get(
    '/revocations/:id',
    {
      config: { scope: 'revocations:read' },
      schema: {
        tags,
        summary: 'Read a revocation and how far its events have come',
        params: Type.Object({ id: IdParam('revocation') }),
        response: { 200: Revocation, '4xx': Problem },
      },
    },
    async ({ params }) => {
      const revocation = await findRevocation(deps.db, params.id)
      if (!revocation) throw notFound('revocation')
      return {
        ...revocation,
        events: { delivered: 0, pending: 0, failed: 0 },
        last_acknowledged_at: null,
        seconds_to_last_acknowledgement: null,
      }
    },
  )

  app.delete(
    '/delegations/:id',
    {
      config: { scope: 'delegations:write' },
      schema: {
        tags: ['delegations'],
        summary: 'End a delegation; one that has ended stays as it is',
        params: Type.Object({ id: IdParam('delegation') }),
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async ({ params, admin }, reply) => {
      const by = byAdmin(admin)
      const found = await deps.db
        .transaction()
        .execute((tx) => endDelegation(tx, deps, params.id, by, {}))
      if (!found) throw notFound('delegation')
      return reply.code(204).send(null)
    },
  )

  await app.register(stateRoutes, deps)
}

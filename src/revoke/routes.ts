import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { byAdmin } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { orNoBody } from '../http/admin-door.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListQuery, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { compromiseKey } from './compromise-key.ts'
import { endDelegation } from './end-delegations.ts'
import { readRevocation } from './proof.ts'
import { listRevocations } from './queries.ts'
import { requestRevocation } from './request.ts'
import { ruleEndRoutes } from './rule-routes.ts'
import {
  Compromise,
  CompromisedKey,
  NewRevocation,
  RequestedRevocation,
  Revocation,
  RevocationList,
} from './schema.ts'
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
          'When it answers, nothing in its reach can be minted any more, nor may an agent in it act for another: such permissions end with it. The record named keeps its own state: suspend it to keep new delegations from being made.',
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
      const revocation = await readRevocation(deps.db, params.id)
      if (!revocation) throw notFound('revocation')
      return revocation
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

  app.post(
    '/keys/:kid/compromise',
    {
      config: { scope: 'keys:write' },
      schema: {
        tags: ['keys'],
        summary: 'Drop a signing key that somebody else may hold',
        description:
          'At once: it is out of the key set and signs nothing, the published next key takes over, and nothing it signed is accepted here. Sessions with ID tokens of the key end; events that wait are signed anew; audiences with an events endpoint will be told. What relying apps with a copy of the key set may still accept, and until when, is in the answer. May be called again.',
        params: Type.Object({
          kid: Type.String({
            description: 'The key, as the list of keys names it',
            examples: ['NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs'],
          }),
        }),
        body: Compromise,
        response: { 200: CompromisedKey, '4xx': Problem },
      },
      preValidation: orNoBody,
    },
    ({ params: { kid }, body, admin }) => compromiseKey(deps, { kid, reason: body?.reason, admin }),
  )

  await app.register(stateRoutes, deps)
  await app.register(ruleEndRoutes, deps)
}

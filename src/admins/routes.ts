import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { describeAdminKey } from './admin-key.ts'
import { createAdminKey } from './create.ts'
import { endAdminKey } from './end.ts'
import { listAdminKeys } from './queries.ts'
import { AdminKey, AdminKeyQuery, NewAdminKey } from './schema.ts'

const tags = ['admin keys']

/** Keys of the admin API. */
export const adminKeyRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/admin-keys',
    {
      config: { scope: 'admin-keys:read' },
      schema: {
        summary: 'List the admin keys',
        tags,
        querystring: AdminKeyQuery,
        response: { 200: ListOf(AdminKey), '4xx': Problem },
      },
    },
    async ({ query }) => {
      const now = deps.now()
      const rows = await listAdminKeys(deps.db, query, readList(query), now)
      const page = listPage(rows, query.limit)
      return { ...page, data: page.data.map((row) => describeAdminKey(row, now)) }
    },
  )

  app.post(
    '/admin-keys',
    {
      config: { scope: 'admin-keys:write' },
      schema: {
        summary: 'Make an admin key; the answer shows it once',
        tags,
        body: NewAdminKey,
        response: { 201: AdminKey, '4xx': Problem },
      },
    },
    async (request, reply) =>
      createOnce<AdminKey>(deps, request, reply, ['key'], (tx) =>
        createAdminKey(tx, deps, request.body, request.admin),
      ),
  )

  app.delete(
    '/admin-keys/:id',
    {
      config: { scope: 'admin-keys:write' },
      schema: {
        summary: 'End an admin key and those made with it',
        tags,
        params: Type.Object({ id: IdParam('admin key') }),
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async (request, reply) => {
      await deps.db
        .transaction()
        .execute((tx) => endAdminKey(tx, deps, request.params.id, request.admin))
      return reply.code(204).send(null)
    },
  )
}

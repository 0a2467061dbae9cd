import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { accountRoutes } from './account-routes.ts'
import { createUser } from './create.ts'
import { findUser, listUsers } from './queries.ts'
import { NewUser, User, UserQuery } from './schema.ts'
import { describeUser } from './user.ts'

const tags = ['users']

/** Users. Changing one may end access, and lives with revocation. */
export const userRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/users',
    {
      config: { scope: 'users:read' },
      schema: {
        summary: 'List the users',
        tags,
        querystring: UserQuery,
        response: { 200: ListOf(User), '4xx': Problem },
      },
    },
    async ({ query }) => {
      const page = listPage(await listUsers(deps.db, query, readList(query)), query.limit)
      return { ...page, data: page.data.map(describeUser) }
    },
  )

  app.post(
    '/users',
    {
      config: { scope: 'users:write' },
      schema: {
        summary: 'Add a user',
        tags,
        body: NewUser,
        response: { 201: User, '4xx': Problem },
      },
    },
    async (request, reply) =>
      createOnce<User>(
        deps,
        request,
        reply,
        [],
        (tx) => createUser(tx, deps, request.body, request.admin),
        requireUser,
      ),
  )

  app.get(
    '/users/:id',
    {
      config: { scope: 'users:read' },
      schema: {
        summary: 'Read a user',
        tags,
        params: Type.Object({ id: IdParam('user') }),
        response: { 200: User, '4xx': Problem },
      },
    },
    async ({ params }) => requireUser(deps.db, params.id),
  )

  await app.register(accountRoutes, deps)
}

async function requireUser(db: Db, id: string): Promise<User> {
  const user = await findUser(db, id)
  if (user === undefined) throw notFound('user')
  return describeUser(user)
}

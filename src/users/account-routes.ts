import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { listAccounts } from './account-queries.ts'
import { AudienceAccount, AudienceAccountQuery, GivenAudienceAccount } from './account-schema.ts'
import { putAudienceAccount, removeAudienceAccount } from './audience-account.ts'
import { findUser } from './queries.ts'

const tags = ['users']
const PairParams = Type.Object({ id: IdParam('user'), audience_id: IdParam('audience') })

/** The accounts that a user has at relying apps. */
export const accountRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/users/:id/audience-accounts',
    {
      config: { scope: 'users:read' },
      schema: {
        summary: 'List the accounts of a user at relying apps',
        tags,
        params: Type.Object({ id: IdParam('user') }),
        querystring: AudienceAccountQuery,
        response: { 200: ListOf(AudienceAccount), '4xx': Problem },
      },
    },
    async ({ params, query }) => {
      if ((await findUser(deps.db, params.id)) === undefined) throw notFound('user')
      return listPage(await listAccounts(deps.db, params.id, readList(query)), query.limit)
    },
  )

  app.put(
    '/users/:id/audience-accounts/:audience_id',
    {
      config: { scope: 'users:write' },
      schema: {
        summary: 'Say which account at a relying app is this user’s',
        description:
          'Told as `aud_sub` and `aud_tenant` to audiences that ask for these claims, once that was allowed.',
        tags,
        params: PairParams,
        body: GivenAudienceAccount,
        response: { 200: AudienceAccount, 201: AudienceAccount, '4xx': Problem },
      },
    },
    async ({ params, body, admin }, reply) => {
      const of = { user_id: params.id, audience_id: params.audience_id }
      const { account, created } = await deps.db
        .transaction()
        .execute((tx) => putAudienceAccount(tx, deps, of, body, admin))
      reply.code(created ? 201 : 200)
      return account
    },
  )

  app.delete(
    '/users/:id/audience-accounts/:audience_id',
    {
      config: { scope: 'users:write' },
      schema: {
        summary: 'Forget the account of a user at a relying app',
        tags,
        params: PairParams,
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async ({ params, admin }, reply) => {
      const of = { user_id: params.id, audience_id: params.audience_id }
      await deps.db.transaction().execute((tx) => removeAudienceAccount(tx, deps, of, admin))
      return reply.code(204).send(null)
    },
  )
}

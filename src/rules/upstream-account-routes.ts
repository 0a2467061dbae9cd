import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { linkAccount, requireIssuer, unlinkAccount } from './upstream-account.ts'
import { findAccount, listAccounts } from './upstream-account-queries.ts'
import {
  NewUpstreamAccount,
  UpstreamAccount,
  UpstreamAccountQuery,
} from './upstream-account-schema.ts'

const tags = ['rules']
const params = Type.Object({ id: IdParam('trusted issuer') })

/** Whose accounts the subjects of a trusted issuer are. */
export const upstreamAccountRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.post(
    '/trusted-issuers/:id/accounts',
    {
      config: { scope: 'rules:write' },
      schema: {
        summary: 'Say whose account a subject of a trusted issuer is',
        description: 'It stays so when the trust ends and the issuer is registered anew.',
        tags,
        params,
        body: NewUpstreamAccount,
        response: { 201: UpstreamAccount, '4xx': Problem },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      const { subject } = request.body
      return createOnce<UpstreamAccount>(
        deps,
        request,
        reply,
        [],
        (tx) => linkAccount(tx, deps, id, request.body, request.admin),
        // The subject may have to be forgotten: the memory of the answer has none of it.
        async (tx) => {
          const { tenant_id, issuer } = await requireIssuer(tx, id)
          const account = await findAccount(tx, { tenant_id, issuer, subject })
          if (account === undefined) throw notFound('account')
          return account
        },
      )
    },
  )

  app.get(
    '/trusted-issuers/:id/accounts',
    {
      config: { scope: 'rules:read' },
      schema: {
        summary: 'List the linked subjects of a trusted issuer, newest first',
        tags,
        params,
        querystring: UpstreamAccountQuery,
        response: { 200: ListOf(UpstreamAccount), '4xx': Problem },
      },
    },
    async ({ params, query }) => {
      const { tenant_id, issuer } = await requireIssuer(deps.db, params.id)
      const { limit, cursor: _cursor, ...named } = query
      const of = { tenant_id, issuer, ...named }
      return listPage(await listAccounts(deps.db, of, readList(query)), limit)
    },
  )

  app.delete(
    '/trusted-issuers/:id/accounts/:subject',
    {
      config: { scope: 'rules:write' },
      schema: {
        summary: 'Unlink a subject of a trusted issuer',
        description: 'What its user allowed stays, and is out of its reach.',
        tags,
        params: Type.Object({
          id: IdParam('trusted issuer'),
          subject: Type.String({ description: '`sub` of its ID tokens, percent-encoded' }),
        }),
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async ({ params: { id, subject }, admin }, reply) => {
      await deps.db.transaction().execute((tx) => unlinkAccount(tx, deps, id, subject, admin))
      return reply.code(204).send(null)
    },
  )
}

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { endReceiver } from './end-receiver.ts'
import { enrolReceiver } from './enrol-receiver.ts'
import { describeReceiver } from './receiver.ts'
import { findReceiver, listReceivers, listStreamsOf } from './receiver-queries.ts'
import { NewReceiver, Receiver, ReceiverQuery } from './receiver-schema.ts'

const tags = ['shared signals']
const params = Type.Object({ id: IdParam('receiver') })

/** Who may receive Shared Signals: the admin door's calls. */
export const receiverRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.post(
    '/ssf-receivers',
    {
      config: { scope: 'revocations:write' },
      schema: {
        summary: 'Enrol a receiver of Shared Signals; the answer shows its secret once',
        description:
          'A client of its own kind: it gets access tokens by `client_credentials`, makes one stream with them, and hears of the users that it asks about.',
        tags,
        body: NewReceiver,
        response: { 201: Receiver, '4xx': Problem },
      },
    },
    async (request, reply) =>
      createOnce<Receiver>(deps, request, reply, ['client_secret'], (tx) =>
        enrolReceiver(tx, deps, request.body, request.admin),
      ),
  )

  app.get(
    '/ssf-receivers',
    {
      config: { scope: 'revocations:read' },
      schema: {
        summary: 'List the receivers, newest first',
        tags,
        querystring: ReceiverQuery,
        response: { 200: ListOf(Receiver), '4xx': Problem },
      },
    },
    async ({ query }) => {
      const page = listPage(await listReceivers(deps.db, query, readList(query)), query.limit)
      const ids = page.data.map(({ id }) => id)
      const streams = await listStreamsOf(deps.db, ids)
      return { ...page, data: page.data.map((row) => describeReceiver(row, streams)) }
    },
  )

  app.get(
    '/ssf-receivers/:id',
    {
      config: { scope: 'revocations:read' },
      schema: {
        summary: 'Read a receiver, and how its stream fares',
        tags,
        params,
        response: { 200: Receiver, '4xx': Problem },
      },
    },
    async ({ params: { id } }) => {
      const row = await findReceiver(deps.db, id)
      if (row === undefined) throw notFound('receiver')
      return describeReceiver(row, await listStreamsOf(deps.db, [id]))
    },
  )

  app.delete(
    '/ssf-receivers/:id',
    {
      config: { scope: 'revocations:write' },
      schema: {
        summary: 'End a receiver with its tokens and its stream',
        tags,
        params,
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async (request, reply) => {
      await deps.db
        .transaction()
        .execute((tx) => endReceiver(tx, deps, request.params.id, request.admin))
      return reply.code(204).send(null)
    },
  )
}

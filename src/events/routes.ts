import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { byAdmin } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { orNoBody } from '../http/admin-door.ts'
import { listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { secondsBetween } from '../oauth/numeric-date.ts'
import {
  type Delivery,
  findDelivery,
  listDeliveries,
  listInterrupts,
  MOST_INTERRUPTS,
} from './list-queries.ts'
import { retryEvent } from './retry.ts'
import { EventDeliveries, EventDelivery, EventDeliveryQuery, Retry } from './schema.ts'

const tags = ['revocations']
const params = Type.Object({ id: IdParam('event delivery') })

/** What relying apps were told, and whether they took it. */
export const eventRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const read = async (id: string): Promise<EventDelivery> => {
    const delivery = await findDelivery(deps.db, id)
    if (delivery === undefined) throw notFound('event delivery')
    const interrupts = await listInterrupts(deps.db, { id }, MOST_INTERRUPTS)
    return { ...described(delivery), ...(interrupts.length > 0 && { interrupts }) }
  }

  app.get(
    '/event-deliveries',
    {
      config: { scope: 'revocations:read' },
      schema: {
        tags,
        summary: 'List the events that relying apps were sent, or are to be',
        description: 'Newest first. The proof of each: when it was queued, tried and accepted.',
        querystring: EventDeliveryQuery,
        response: { 200: EventDeliveries, '4xx': Problem },
      },
    },
    async ({ query }) => {
      const page = listPage(await listDeliveries(deps.db, query, readList(query)), query.limit)
      return { ...page, data: page.data.map(described) }
    },
  )

  app.get(
    '/event-deliveries/:id',
    {
      config: { scope: 'revocations:read' },
      schema: {
        tags,
        summary: 'Read how far an event has come',
        params,
        response: { 200: EventDelivery, '4xx': Problem },
      },
    },
    ({ params: { id } }) => read(id),
  )

  app.post(
    '/event-deliveries/:id/retry',
    {
      config: { scope: 'revocations:write' },
      schema: {
        tags,
        summary: 'Send an event again that failed, or one that waits at once',
        description:
          'One that waits is tried at once, and stays as it is. One that failed: a new token with a new jti, to the endpoint that the audience has now, tried for another 72 hours. One that was accepted stays as it is, and the answer is another one that says the same, for an app that has lost what it knew; no revocation is proved by it. Refused for one that was dropped, and after a newer consent: it would end what that one gave.',
        params,
        body: Retry,
        response: { 200: EventDelivery, '4xx': Problem },
      },
      preValidation: orNoBody,
    },
    async (request) => {
      const { id } = request.params
      return read(await retryEvent(deps, id, byAdmin(request.admin)))
    },
  )
}

/** Never less than none: the replicas' clocks may differ. */
const described = (delivery: Delivery): EventDelivery => {
  const { created_at, delivered_at } = delivery
  return {
    ...delivery,
    seconds_to_acknowledgement:
      delivered_at && Math.max(0, secondsBetween(created_at, delivered_at)),
  }
}

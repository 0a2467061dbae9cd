import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { NO_STORE } from '../http/client-door.ts'
import { receiverGuard } from './admit.ts'
import { changeStatus } from './change-status.ts'
import { changeStream, createStream, deleteStream } from './configure.ts'
import { PATHS } from './endpoints.ts'
import { requireStream } from './find-stream.ts'
import { nameSubject } from './name-subject.ts'
import { pollStream } from './poll.ts'
import {
  Configuration,
  NewStream,
  PollAnswer,
  PollRequest,
  SsfErrorResponse,
  Status,
  StatusChange,
  StreamChange,
  StreamNamed,
  StreamQuery,
  SubjectOfStream,
  VerificationRequest,
} from './schema.ts'
import { describeStream, type Stream } from './stream.ts'
import { findStreamOf } from './stream-queries.ts'
import { verifyStream } from './verify-stream.ts'
import { createWaiting } from './waiting.ts'

const tags = ['shared signals']
const refused = { '4xx': SsfErrorResponse }
const manage = { ssfScope: 'ssf.manage' } as const
const read = { ssfScope: 'ssf.read' } as const

/** No body at all: null would be one. */
const Nothing = Type.Unsafe<undefined>({ type: 'null', description: 'Noted' })

/** The endpoints of a Shared Signals transmitter (SSF §8), for its receivers. */
export const streamRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const waiting = createWaiting(deps)
  app.addHook('preClose', (done) => {
    waiting.close()
    done()
  })
  app.addHook('onRequest', async (_request, reply) => void reply.headers(NO_STORE))
  app.addHook('onRequest', receiverGuard(deps))
  // A body that was left out is read as one that lacks everything.
  app.addHook('preValidation', async (request) => {
    if (request.method !== 'GET' && request.method !== 'DELETE') request.body ??= {}
  })

  app.post(
    PATHS.configuration,
    {
      config: manage,
      schema: {
        summary: 'Make a stream',
        description: 'A receiver has one stream; another one is refused with 409.',
        tags,
        body: NewStream,
        response: { 201: Configuration, ...refused },
      },
    },
    async ({ body, receiver }, reply) => {
      reply.code(201)
      return deps.db.transaction().execute((tx) => createStream(tx, deps, receiver, body))
    },
  )

  app.get(
    PATHS.configuration,
    {
      config: read,
      schema: {
        summary: "Read a stream's configuration, or without its id those of all",
        description:
          'A receiver has one stream at the most, and sees no other. 404 for one that is not its own.',
        tags,
        querystring: StreamQuery,
        response: { 200: Type.Union([Configuration, Type.Array(Configuration)]), ...refused },
      },
    },
    async ({ query, receiver }) => {
      const { issuer } = deps.config
      const describe = (stream: Stream) => describeStream(issuer, receiver.audience, stream)
      if (query.stream_id !== undefined) {
        return describe(await requireStream(deps.db, receiver, query.stream_id))
      }
      const stream = await findStreamOf(deps.db, receiver.id)
      return stream ? [describe(stream)] : []
    },
  )

  for (const [method, summary] of [
    ['PATCH', 'Change what is named of a stream'],
    ['PUT', 'Replace what a receiver says of a stream; what is absent is deleted'],
  ] as const) {
    app.route({
      method,
      url: PATHS.configuration,
      config: manage,
      schema: {
        summary,
        description: 'Members that are ours have to be as they are, or absent.',
        tags,
        body: StreamChange,
        response: { 200: Configuration, ...refused },
      },
      handler: ({ body, receiver }) =>
        deps.db
          .transaction()
          .execute((tx) => changeStream(tx, deps, receiver, body, method === 'PUT')),
    })
  }

  app.delete(
    PATHS.configuration,
    {
      config: manage,
      schema: {
        summary: 'End a stream; what waits on it is dropped',
        description: 'Another one can be made then.',
        tags,
        querystring: StreamNamed,
        response: { 204: Type.Null(), ...refused },
      },
    },
    async ({ query, receiver }, reply) => {
      await deps.db.transaction().execute((tx) => deleteStream(tx, deps, receiver, query.stream_id))
      return reply.code(204).send(null)
    },
  )

  app.get(
    PATHS.status,
    {
      config: read,
      schema: {
        summary: "Read a stream's status",
        description: 'Also why it was last changed, by its receiver or by us.',
        tags,
        querystring: StreamNamed,
        response: { 200: Status, ...refused },
      },
    },
    async ({ query, receiver }) =>
      statusOf(await requireStream(deps.db, receiver, query.stream_id)),
  )

  app.post(
    PATHS.status,
    {
      config: manage,
      schema: {
        summary: "Change a stream's status",
        description:
          'A paused stream keeps its events for a week, a disabled one drops what waits and hears of nothing more until it is enabled.',
        tags,
        body: StatusChange,
        response: { 200: Status, ...refused },
      },
    },
    async ({ body, receiver }) =>
      statusOf(await deps.db.transaction().execute((tx) => changeStatus(tx, deps, receiver, body))),
  )

  app.post(
    PATHS.addSubject,
    {
      config: manage,
      schema: {
        summary: 'Ask to hear of somebody',
        description: 'The answer is the same whether or not there is such a user.',
        tags,
        body: SubjectOfStream,
        response: { 200: Nothing, ...refused },
      },
    },
    async ({ body, receiver }, reply) => {
      await nameSubject(deps, receiver, 'add', body)
      return reply.code(200).send()
    },
  )

  app.post(
    PATHS.removeSubject,
    {
      config: manage,
      schema: {
        summary: 'Ask to hear no more of somebody',
        description: 'The answer is the same whether or not it was asked for before.',
        tags,
        body: SubjectOfStream,
        response: { 204: Type.Null(), ...refused },
      },
    },
    async ({ body, receiver }, reply) => {
      await nameSubject(deps, receiver, 'remove', body)
      return reply.code(204).send(null)
    },
  )

  app.post(
    PATHS.verification,
    {
      config: manage,
      schema: {
        summary: 'Ask for an event that shows that events arrive',
        description:
          'The event carries the `state`, goes the way of the others, and is not more often to be had than `min_verification_interval` says.',
        tags,
        body: VerificationRequest,
        response: { 204: Type.Null(), ...refused },
      },
    },
    async ({ body, receiver }, reply) => {
      await verifyStream(deps, receiver, body)
      return reply.code(204).send(null)
    },
  )

  app.post(
    `${PATHS.poll}/:stream_id`,
    {
      config: read,
      schema: {
        summary: 'Fetch events, and acknowledge those fetched before (RFC 8936)',
        description: 'Waits up to 25 seconds for an event, unless `returnImmediately` is true.',
        tags,
        params: Type.Object({ stream_id: Type.String({ description: 'The stream' }) }),
        body: PollRequest,
        response: { 200: PollAnswer, ...refused },
      },
    },
    ({ params, body, receiver }, reply) =>
      pollStream(deps, waiting, receiver, params.stream_id, body, goneWith(reply)),
  )
}

const statusOf = ({ id, status, status_reason }: Stream) => ({
  stream_id: id,
  status,
  ...(status_reason === null ? {} : { reason: status_reason }),
})

/** Nobody waits for an event for whoever has hung up. */
function goneWith({ raw }: FastifyReply): AbortSignal {
  const gone = new AbortController()
  raw.once('close', () => gone.abort())
  return gone.signal
}

import { createHash } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { problemBody } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import type { KeySet } from '../keys/key-ring.ts'
import { agentDocument, providerDocument } from './client-documents.ts'
import { serverMetadata } from './metadata.ts'
import { findPublicAgent } from './queries.ts'
import { Jwks, Metadata, NotModified, PublicClient, Transmitter } from './schema.ts'
import { transmitterMetadata } from './transmitter.ts'

/** Seconds that a published document may be cached (DS-04, DS-24). */
const MAX_AGE = 300
/** Of a key set that may have changed since, while the database cannot be asked. */
const STALE_MAX_AGE = 10
/** How long a shared cache may go on with a key set while it gets no answer. */
const MAX_STALE = 3600
/** Shorter: a relying app should learn soon that an agent was stopped. */
const AGENT_MAX_AGE = 60

const KEPT = 'A copy may be kept for five minutes.'
const KEY_SET =
  'What ID tokens, ID-JAGs and events are verified with. A key is published before it signs and for as long as anything signed by it is good; look here again when a `kid` is unknown, not more often than the `Cache-Control` says. 503: it could not be read for so long that nobody may go by it.'

/** What anyone may read: no authentication, no cookie, any origin. Nothing here changes anything. */
export const discoveryRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const { issuer, jwksCeiling } = deps.config
  const openTo = (url: string) => {
    app.options(url, { config: { undocumented: true } }, (_request, reply) =>
      reply.code(204).headers(PREFLIGHT).send(),
    )
    return url
  }

  const metadata = fixedDocument(serverMetadata(deps.config), MAX_AGE)
  for (const [name, summary] of [
    ['oauth-authorization-server', 'Authorization server metadata (RFC 8414)'],
    ['openid-configuration', 'The same metadata, where OpenID Connect looks for it'],
  ] as const) {
    const description = `Where everything is, and what is supported: what is listed works. ${KEPT}`
    app.get(
      openTo(`/.well-known/${name}`),
      { schema: { summary, description, response: { 200: Metadata, 304: NotModified } } },
      (request, reply) => sendDocument(request, reply, metadata),
    )
  }

  // The issuer has no path that the well-known segment would have to stand before (DS-60).
  const transmitter = fixedDocument(transmitterMetadata(issuer), MAX_AGE)
  app.get(
    openTo('/.well-known/ssf-configuration'),
    {
      schema: {
        summary: 'Metadata of the Shared Signals transmitter (SSF 1.0)',
        description: `Where receivers make and keep a stream; tokens are had at the token endpoint of the server's metadata. ${KEPT}`,
        response: { 200: Transmitter, 304: NotModified },
      },
    },
    (request, reply) => sendDocument(request, reply, transmitter),
  )

  const keySetDocument = (keySet: KeySet): Document => {
    const maxAge = Math.min(keySet.stale ? STALE_MAX_AGE : MAX_AGE, jwksCeiling)
    // An old key set verifies more than none; but who gets it from a cache keeps it for a ceiling from then on.
    const ifError = keySet.stale ? 0 : Math.min(MAX_STALE, jwksCeiling - maxAge)
    return prepare(keySet, `max-age=${maxAge}, stale-if-error=${ifError}`)
  }
  let last: { keySet: KeySet; document: Document } | undefined
  app.get(
    openTo('/.well-known/jwks.json'),
    {
      schema: {
        summary: 'Public signing keys',
        description: KEY_SET,
        response: { 200: Jwks, 304: NotModified, 503: Problem },
      },
    },
    async (request, reply) => {
      const keySet = await deps.keys.freshJwks()
      if (keySet.expired) return sendUnavailable(reply)
      if (last?.keySet.etag !== keySet.etag || last.keySet.stale !== keySet.stale) {
        last = { keySet, document: keySetDocument(keySet) }
      }
      return sendDocument(request, reply, last.document)
    },
  )

  const provider = fixedDocument(providerDocument(issuer), MAX_AGE)
  app.get(
    openTo('/agent-provider.json'),
    {
      schema: {
        summary: 'Client metadata of the platform, the client_id that auth.md services see',
        description: KEPT,
        response: { 200: PublicClient, 304: NotModified },
      },
    },
    (request, reply) => sendDocument(request, reply, provider),
  )

  app.get(
    openTo('/agents/:agent_id/client.json'),
    {
      schema: {
        summary: 'Client metadata of one agent',
        description: 'Of an agent that may act now and authenticates with a key; otherwise 404.',
        params: Type.Object({ agent_id: Type.String() }),
        response: { 200: PublicClient, 304: NotModified, 404: Problem },
      },
    },
    async (request, reply) => {
      const { agent_id } = request.params
      const agent = AGENT_ID.test(agent_id)
        ? await findPublicAgent(deps.db, agent_id, deps.now())
        : undefined
      const document = agent && agentDocument(issuer, agent)
      if (document) return sendDocument(request, reply, fixedDocument(document, AGENT_MAX_AGE))
      return sendNotFound(reply)
    },
  )
}

const AGENT_ID = /^agt_[A-Za-z0-9_-]{22}$/

const ANY_ORIGIN = { 'access-control-allow-origin': '*' }
const PREFLIGHT = {
  ...ANY_ORIGIN,
  'access-control-allow-methods': 'GET',
  // MCP clients send a header of their own when they look here.
  'access-control-allow-headers': '*',
  'access-control-max-age': '86400',
}

/** As it goes out: everybody asks for the same few, and often. */
type Document = {
  body: Buffer
  etag: string
  headers: Record<string, string>
}

function fixedDocument(value: object, maxAge: number): Document {
  const body = JSON.stringify(value)
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
  return prepare({ body, etag }, `max-age=${maxAge}`)
}

const prepare = ({ body, etag }: { body: string; etag: string }, caching: string): Document => ({
  body: Buffer.from(body),
  etag,
  headers: { ...ANY_ORIGIN, 'cache-control': `public, ${caching}`, etag },
})

function sendDocument(
  request: FastifyRequest,
  reply: FastifyReply,
  { body, etag, headers }: Document,
): FastifyReply {
  reply.headers(headers)
  const known = request.headers['if-none-match']
  if (known !== undefined && isKnown(known, etag)) return reply.code(304).send()
  return reply.header('content-type', 'application/json; charset=utf-8').send(body)
}

/** Nobody may keep a key set for so long, and nor do we. */
const sendUnavailable = (reply: FastifyReply): FastifyReply =>
  reply
    .code(503)
    .headers({ ...ANY_ORIGIN, 'cache-control': 'no-store', 'retry-after': '10' })
    .type('application/problem+json')
    .send(JSON.stringify(problemBody('unavailable', 'The key set could not be read for too long')))

/** Not cached: an agent that is resumed is there again at once. */
const sendNotFound = (reply: FastifyReply): FastifyReply =>
  reply
    .code(404)
    .headers({ ...ANY_ORIGIN, 'cache-control': 'no-store' })
    .type('application/problem+json')
    .send(JSON.stringify(problemBody('not_found', 'No agent publishes metadata here')))

/** RFC 9110 §13.1.2: any of a list, compared weakly. */
const isKnown = (header: string, etag: string): boolean =>
  header.split(',').some((tag) => ['*', etag, `W/${etag}`].includes(tag.trim()))

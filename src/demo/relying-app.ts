/**
 * A small relying app: an authorization server that takes ID-JAGs and revocations, and the API behind it. It
 * knows the identity provider by its URL alone and shares no database and no secret with it; its code is
 * what any relying app may take, `relying-app/`.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { numericDate } from '../oauth/numeric-date.ts'
import {
  type Basis,
  createRevocationStore,
  createSeenEvents,
  isRevoked,
  reaches,
  receiveEvent,
} from '../relying-app/receive-event.ts'
import {
  createReplayStore,
  refusalBody,
  trustIssuer,
  verifyIdJag,
} from '../relying-app/verify-id-jag.ts'

export const SCOPES = { 'notes.read': 'Read your notes', 'notes.write': 'Write notes for you' }

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const ID_JAG_PROFILE = 'urn:ietf:params:oauth:grant-profile:id-jag'
/** Seconds that an access token lives. There is no refresh token: a new ID-JAG is the renewal (IJ-59). */
const LIFETIME = 300

export type RelyingApp = {
  /** What an ID-JAG for this app has as its `aud`. */
  issuer: string
  resource: string
  tokenEndpoint: string
  notes: string
  eventsEndpoint: string
  /** The events that it acted on, oldest first: what came, letter by letter. */
  heard: readonly string[]
  /** The agent as this app knows it. */
  client: { id: string; secret: string }
  stop(): Promise<void>
}

type Grant = { basis: Basis; scopes: string[]; expires_at: number }

export async function startRelyingApp(of: { trusts: string; port: number }): Promise<RelyingApp> {
  const app = Fastify({ bodyLimit: 64 * 1024 })
  const client = { id: 'notes-agent', secret: randomBytes(32).toString('base64url') }
  const grants = new Map<string, Grant>()
  // The port is known only once it listens, and the issuer has it in it.
  const self = { issuer: '', resource: '' }
  const issuers = [trustIssuer(of.trusts)]
  const replay = createReplayStore()
  const seen = createSeenEvents()
  const revocations = createRevocationStore()
  const heard: string[] = []
  const now = () => new Date()

  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (_request, body, done) => done(null, new URLSearchParams(String(body))),
  )
  app.addContentTypeParser(
    'application/secevent+jwt',
    { parseAs: 'string' },
    (_request, body, done) => done(null, body),
  )

  app.get('/.well-known/oauth-authorization-server', () => ({
    issuer: self.issuer,
    token_endpoint: `${self.issuer}/oauth2/token`,
    response_types_supported: [],
    grant_types_supported: [JWT_BEARER],
    authorization_grant_profiles_supported: [ID_JAG_PROFILE],
    token_endpoint_auth_methods_supported: ['client_secret_basic'],
    scopes_supported: Object.keys(SCOPES),
  }))
  app.get('/.well-known/oauth-protected-resource/v1', () => ({
    resource: self.resource,
    resource_name: 'Notes',
    authorization_servers: [self.issuer],
    scopes_supported: Object.keys(SCOPES),
    bearer_methods_supported: ['header'],
  }))

  app.post('/oauth2/token', async (request, reply) => {
    reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' })
    if (!isClient(request.headers.authorization, client)) {
      reply.header('www-authenticate', 'Basic realm="notes"')
      return refuse(reply, 401, 'invalid_client', 'The client is unknown or its secret is wrong')
    }
    if (!(request.body instanceof URLSearchParams)) {
      return refuse(reply, 400, 'invalid_request', 'Send a form')
    }
    if (request.body.get('grant_type') !== JWT_BEARER) {
      return refuse(reply, 400, 'unsupported_grant_type', `Only ${JWT_BEARER} is supported`)
    }
    const verdict = await verifyIdJag(request.body.get('assertion'), {
      profile: 'idjag',
      self: self.issuer,
      issuers,
      replay,
      revocations,
      now,
      client,
      asked: {
        scope: request.body.get('scope') ?? undefined,
        resource: request.body.getAll('resource'),
      },
      resources: [self.resource],
    })
    if (!verdict.ok) {
      return reply.code(verdict.status).headers(verdict.headers).send(refusalBody(verdict))
    }
    const scopes = verdict.scopes.filter((scope) => Object.hasOwn(SCOPES, scope))
    if (scopes.length === 0) {
      return refuse(reply, 400, 'invalid_scope', 'None of the scopes can be granted')
    }
    const token = randomBytes(32).toString('base64url')
    const expires_at = Date.now() + LIFETIME * 1000
    const { iss, sub, iat, client_id, act } = verdict.claims
    const basis = { iss, sub, iat, client_id, act }
    grants.set(digest(token), { basis, scopes, expires_at })
    // An event that came just now found nothing to drop yet; it is remembered since before it looked.
    if (await isRevoked(basis, revocations, numericDate(now()))) {
      grants.delete(digest(token))
      return refuse(reply, 400, 'invalid_grant', 'The access was revoked just now')
    }
    const scope = scopes.join(' ')
    return { access_token: token, token_type: 'Bearer', expires_in: LIFETIME, scope }
  })

  app.post('/events', async (request, reply) => {
    const answer = await receiveEvent(request.headers['content-type'], request.body, {
      self: self.issuer,
      issuers,
      seen,
      revocations,
      now,
      revoke: async (revocation) => {
        for (const [token, { basis }] of grants) {
          if (reaches(revocation, basis)) grants.delete(token)
        }
      },
    })
    if (answer.revoked) heard.push(String(request.body))
    return reply.code(answer.status).headers(answer.headers).send(answer.body)
  })

  app.get('/v1/notes', async (request, reply) => {
    const grant = grants.get(digest(bearerOf(request)))
    if (!grant || grant.expires_at <= Date.now()) return challenge(reply, 401, self.issuer)
    if (!grant.scopes.includes('notes.read')) {
      return challenge(reply, 403, self.issuer, 'insufficient_scope')
    }
    return { user: grant.basis.sub, notes: ['Water the plants', 'Call the dentist'] }
  })

  await app.listen({ host: '127.0.0.1', port: of.port })
  self.issuer = `http://localhost:${(app.server.address() as AddressInfo).port}`
  self.resource = `${self.issuer}/v1`
  return {
    ...self,
    client,
    tokenEndpoint: `${self.issuer}/oauth2/token`,
    notes: `${self.issuer}/v1/notes`,
    eventsEndpoint: `${self.issuer}/events`,
    heard,
    stop: () => app.close(),
  }
}

function isClient(authorization: string | undefined, client: RelyingApp['client']): boolean {
  const [, encoded = ''] = /^Basic +(\S+)$/i.exec(authorization ?? '') ?? []
  const [id, secret] = Buffer.from(encoded, 'base64').toString().split(':')
  const given = createHash('sha256').update(`${id}:${secret}`).digest()
  return timingSafeEqual(
    given,
    createHash('sha256').update(`${client.id}:${client.secret}`).digest(),
  )
}

const bearerOf = (request: FastifyRequest): string =>
  /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''

const digest = (token: string): string => createHash('sha256').update(token).digest('hex')

const refuse = (reply: FastifyReply, status: number, error: string, error_description: string) =>
  reply.code(status).send({ error, error_description })

/** RFC 9728 §5.1: where a client learns how to get a token. */
function challenge(reply: FastifyReply, status: number, issuer: string, error?: string) {
  const metadata = `resource_metadata="${issuer}/.well-known/oauth-protected-resource/v1"`
  const why = error === undefined ? '' : `error="${error}", scope="notes.read", `
  return reply
    .code(status)
    .header('www-authenticate', `Bearer ${why}${metadata}`)
    .send({ error: error ?? 'unauthorized' })
}

/**
 * The ceiling: the cheapest server that still does what no issuer can leave out. It reads the form, checks
 * the two ES256 signatures, makes one, and answers when its row is durable; rows that wait together are
 * written together. It asks for no expiry, replay, client status, policy or consent: never a provider.
 */
import crypto, { type KeyObject } from 'node:crypto'
import fs from 'node:fs'
import Fastify from 'fastify'
import pg from 'pg'
import { ID_JAG } from '../fixture.ts'
import {
  encodePart,
  privateKeyOf,
  publicJwk,
  publicKeyOf,
  readJwt,
  signatureHolds,
  signJwt,
} from '../jwt.ts'
import type { World } from './world.ts'

interface Row {
  values: [agent: unknown, user: unknown, audience: unknown, jti: string]
  durable: () => void
  failed: (error: unknown) => void
}

const { PORT, ISSUER, DATABASE_URL, WORLD_FILE = '' } = process.env
const world: World = JSON.parse(fs.readFileSync(WORLD_FILE, 'utf8'))
const signingKey = privateKeyOf(world.issuerKey)
const ownKey = publicKeyOf(world.issuerKey)
const agentKeys = new Map<unknown, KeyObject>(
  world.agents.map(({ id, jwk }) => [id, publicKeyOf(jwk)]),
)
const header = encodePart({ alg: 'ES256', typ: 'oauth-id-jag+jwt', kid: world.issuerKey.kid })

const WRITERS = 2
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: WRITERS })
let waiting: Row[] = []
let writing = 0

const app = Fastify()
app.addContentTypeParser(
  'application/x-www-form-urlencoded',
  { parseAs: 'string' },
  (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(body as string))),
)

app.get('/jwks', async () => ({ keys: [publicJwk(world.issuerKey)] }))

app.post<{ Body: Record<string, string> }>('/token', async ({ body }, reply) => {
  const { client_assertion = '', subject_token = '', audience, resource, scope } = body
  const client = claimsOf(client_assertion, (id) => agentKeys.get(id))
  const subject = claimsOf(subject_token, () => ownKey)
  const iat = Math.floor(Date.now() / 1000)
  const jti = crypto.randomUUID()
  const claims = {
    iss: ISSUER,
    sub: subject.sub,
    aud: audience,
    client_id: client.sub,
    jti,
    iat,
    exp: iat + 300,
    resource,
    scope,
  }
  const idJag = signJwt(header, claims, signingKey)
  await write([client.sub, subject.sub, audience, jti])
  reply.header('cache-control', 'no-store')
  return {
    access_token: idJag,
    issued_token_type: ID_JAG,
    token_type: 'N_A',
    expires_in: 300,
    scope,
  }
})

await app.listen({ host: '127.0.0.1', port: Number(PORT) })
process.on('SIGTERM', () => process.exit(0))

function claimsOf(token: string, keyOf: (sub: unknown) => KeyObject | undefined) {
  const { claims } = readJwt(token)
  const key = keyOf(claims.sub)
  if (!key || !signatureHolds(token, key)) throw new Error('the signature does not hold')
  return claims
}

function write(values: Row['values']): Promise<void> {
  return new Promise((durable, failed) => {
    waiting.push({ values, durable, failed })
    if (waiting.length === 1) setImmediate(writeWaiting)
  })
}

async function writeWaiting(): Promise<void> {
  if (waiting.length === 0 || writing >= WRITERS) return
  const batch = waiting
  waiting = []
  writing++
  try {
    await pool.query({
      name: 'write-issuances',
      text: `insert into issuances (agent_id, user_id, audience, jti)
        select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])`,
      values: [0, 1, 2, 3].map((column) => batch.map((row) => row.values[column])),
    })
    for (const row of batch) row.durable()
  } catch (error) {
    for (const row of batch) row.failed(error)
  }
  writing--
  void writeWaiting()
}

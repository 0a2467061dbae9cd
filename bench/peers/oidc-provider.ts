/**
 * oidc-provider doing agent-idp's work: its own client authentication and replay detection, and a custom
 * token-exchange grant that judges the subject token, asks for everything the decision needs in one select
 * and records in one statement. All of its state is in Postgres and durable; statements are prepared.
 */
import crypto from 'node:crypto'
import fs from 'node:fs'
import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from 'jose'
import { errors, Provider } from 'oidc-provider'
import pg from 'pg'
import { ID_JAG, ID_TOKEN, TOKEN_EXCHANGE } from '../fixture.ts'
import { publicJwk } from '../jwt.ts'
import type { World } from './world.ts'

const { PORT, ISSUER = '', DATABASE_URL, WORLD_FILE = '' } = process.env
const { issuerKey }: World = JSON.parse(fs.readFileSync(WORLD_FILE, 'utf8'))
const signingKey = await importJWK(issuerKey, 'ES256')
const ownKeys = createLocalJWKSet({ keys: [publicJwk(issuerKey)] } as never)

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })
const run = (name: string, text: string, values: unknown[]) => pool.query({ name, text, values })

/** Clients live in the agents table; everything else that oidc-provider keeps, in provider_state. */
function adapter(model: string) {
  if (model === 'Client') return { find: findClient }
  return {
    async find(id: string) {
      const { rows } = await run(
        'find-state',
        `select payload from provider_state
          where model = $1 and id = $2 and (expires_at is null or expires_at > now())`,
        [model, id],
      )
      return rows[0]?.payload
    },
    async upsert(id: string, payload: unknown, seconds?: number) {
      // of two simultaneous presentations of one assertion, one has to lose
      const once = model === 'ReplayDetection'
      const { rowCount } = await run(
        once ? 'insert-state' : 'upsert-state',
        `insert into provider_state (model, id, payload, expires_at)
          values ($1, $2, $3, now() + make_interval(secs => $4))
          on conflict (model, id) do ${
            once
              ? 'nothing'
              : 'update set payload = excluded.payload, expires_at = excluded.expires_at'
          }`,
        [model, id, payload, seconds ?? null],
      )
      if (once && rowCount === 0) throw new errors.InvalidClientAuth('assertion already used')
    },
    async destroy(id: string) {
      await run('end-state', 'delete from provider_state where model = $1 and id = $2', [model, id])
    },
  }
}

async function findClient(id: string) {
  const { rows } = await run('find-client', 'select jwk from agents where id = $1 and active', [id])
  if (rows.length === 0) return undefined
  return {
    client_id: id,
    jwks: { keys: [rows[0].jwk] },
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    grant_types: [TOKEN_EXCHANGE],
    response_types: [],
    redirect_uris: [],
  }
}

async function findDelegation(userId: unknown, agentId: string, audience: string) {
  const { rows } = await run(
    'find-delegation',
    `select d.id, d.scopes, e.client_id, e.scopes as entitled, a.resources, a.lifetime, u.email
      from delegations d
      join users u on u.id = d.user_id and u.active
      join audiences a on a.issuer = d.audience and a.active
      join entitlements e on e.agent_id = d.agent_id and e.audience = d.audience
      where d.user_id = $1 and d.agent_id = $2 and d.audience = $3
        and d.revoked_at is null and d.expires_at > now()`,
    [userId, agentId, audience],
  )
  return rows[0]
}

async function verifySubject(token: string, clientId: string) {
  try {
    const expected = { issuer: ISSUER, audience: clientId, algorithms: ['ES256'] }
    return (await jwtVerify(token, ownKeys, expected)).payload
  } catch {
    throw new errors.InvalidGrant('the subject token does not hold')
  }
}

const provider = new Provider(ISSUER, {
  adapter,
  jwks: { keys: [issuerKey] },
  clientAuthMethods: ['private_key_jwt'],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256'], idTokenSigningAlgValues: ['ES256'] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  scopes: ['openid', 'read', 'history'],
  features: { devInteractions: { enabled: false }, resourceIndicators: { enabled: false } },
})

provider.registerGrantType(
  TOKEN_EXCHANGE,
  async (ctx) => {
    const { client, params } = ctx.oidc
    if (params.requested_token_type !== ID_JAG || params.subject_token_type !== ID_TOKEN) {
      throw new errors.InvalidRequest('only an ID token is exchanged, only for an ID-JAG')
    }
    const subject = await verifySubject(params.subject_token, client.clientId)
    const found = await findDelegation(subject.sub, client.clientId, params.audience)
    if (!found) throw new errors.InvalidGrant('not delegated')
    if (!found.resources.includes(params.resource)) throw new errors.InvalidTarget()
    const scope = params.scope
      .split(' ')
      .filter((each: string) => found.scopes.includes(each) && found.entitled.includes(each))
      .join(' ')

    const jti = crypto.randomUUID()
    const idJag = await new SignJWT({
      client_id: found.client_id,
      resource: params.resource,
      scope,
      email: found.email,
      email_verified: true,
      auth_time: subject.auth_time,
      amr: subject.amr,
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'oauth-id-jag+jwt', kid: issuerKey.kid })
      .setIssuer(ISSUER)
      .setSubject(subject.sub as string)
      .setAudience(params.audience)
      .setJti(jti)
      .setIssuedAt()
      .setExpirationTime(`${found.lifetime}s`)
      .sign(signingKey)
    await run(
      'record',
      `with minted as (update delegations set last_minted_at = now() where id = $5)
        insert into issuances (agent_id, user_id, audience, jti, delegation_id, scope)
        values ($1, $2, $3, $4, $5, $6)`,
      [client.clientId, subject.sub, params.audience, jti, found.id, scope],
    )
    ctx.body = {
      access_token: idJag,
      issued_token_type: ID_JAG,
      token_type: 'N_A',
      expires_in: found.lifetime,
      scope,
    }
  },
  ['requested_token_type', 'subject_token', 'subject_token_type', 'audience', 'resource', 'scope'],
)

provider.listen(Number(PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))

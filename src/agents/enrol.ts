import { byAdmin, recordEvent } from '../audit/record.ts'
import { holdTenant } from '../db/hold-tenant.ts'
import { DEFAULT_TENANT, newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, requireSigned } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import { thumbprint } from '../oauth/jwk-thumbprint.ts'
import { newSecret } from '../oauth/secret.ts'
import { describeAgent } from './agent.ts'
import { requireActiveOwner } from './gate.ts'
import { keepCredential } from './keep-credential.ts'
import { type PublicJwk, readPublicJwk } from './public-jwk.ts'
import { insertAgent } from './queries.ts'
import {
  checkGrantTypes,
  checkJwksUri,
  checkRedirectUris,
  hasSecret,
  standardGrantTypes,
} from './registration.ts'
import type { CreatedAgent, NewAgent } from './schema.ts'

/**
 * Enrols an agent. Made by an administrator, it is active at once: that it has an owner, a purpose and an
 * end is checked here. A generated secret is in this answer alone.
 * @throws {ProblemError} `validation_failed`, `unsupported_value`, `owner_inactive`
 */
export async function enrolAgent(
  tx: Db,
  deps: Deps,
  given: NewAgent,
  admin: Admin,
): Promise<CreatedAgent> {
  const now = deps.now()
  const method = given.token_endpoint_auth_method
  const {
    grant_types = standardGrantTypes(method),
    redirect_uris = [],
    id_token_signed_response_alg = 'RS256',
    dpop_bound_access_tokens = false,
    tenant_id = DEFAULT_TENANT,
  } = given
  checkGrantTypes(method, grant_types)
  const algPointer = '/id_token_signed_response_alg'
  requireSigned(algPointer, id_token_signed_response_alg, deps.config.signingAlgs)
  checkRedirectUris(redirect_uris)
  const expiresAt = readFuture('/expires_at', given.expires_at, now)
  const keys = await readKeys(given, deps)
  if (!(await holdTenant(tx, tenant_id))) throw invalid('/tenant_id', 'names no tenant')
  await requireActiveOwner(tx, { tenant_id, owner_id: given.owner_id })

  const agent = await insertAgent(tx, {
    id: newId('agt'),
    tenant_id,
    name: given.name,
    purpose: given.purpose,
    owner_id: given.owner_id,
    environment: given.environment,
    expires_at: expiresAt,
    token_endpoint_auth_method: method,
    jwks_uri: given.jwks_uri,
    redirect_uris,
    grant_types,
    id_token_signed_response_alg,
    dpop_bound_access_tokens,
    status: 'active',
    created_at: now,
    updated_at: now,
  })
  await recordEvent(tx, {
    type: 'agent.created',
    at: now,
    actor: byAdmin(admin),
    tenant_id,
    agent_id: agent.id,
    user_id: given.owner_id,
  })
  const described = describeAgent({ ...agent, last_used_at: null })
  const of = { agent, admin, now }
  for (const [index, key] of keys.entries()) {
    await keepCredential(tx, { ...of, slot: index === 0 ? 1 : 2, key })
  }
  if (!hasSecret(method)) return described
  const secret = newSecret()
  await keepCredential(tx, { ...of, slot: 1, secret })
  return { ...described, client_secret: secret }
}

/** The keys to keep, if they do not come from a `jwks_uri`. */
async function readKeys(given: NewAgent, { config, outbound }: Deps): Promise<PublicJwk[]> {
  const { token_endpoint_auth_method: method, jwks, jwks_uri } = given
  if (method !== 'private_key_jwt') {
    const needless = jwks !== undefined ? 'jwks' : jwks_uri !== undefined ? 'jwks_uri' : undefined
    if (needless !== undefined) {
      throw invalid(`/${needless}`, 'is for token_endpoint_auth_method private_key_jwt alone')
    }
    return []
  }
  if (jwks === undefined && jwks_uri === undefined) {
    throw invalid('/jwks', 'or jwks_uri is needed for token_endpoint_auth_method private_key_jwt')
  }
  if (jwks !== undefined && jwks_uri !== undefined) {
    throw invalid('/jwks_uri', 'cannot stand beside jwks: send one of the two')
  }
  if (jwks_uri !== undefined) {
    checkJwksUri(jwks_uri, config.allowLoopbackHttp, outbound.judge)
  }
  const keys = await Promise.all(
    (jwks?.keys ?? []).map((jwk, index) => readPublicJwk(`/jwks/keys/${index}`, jwk)),
  )
  const [first, second] = keys
  if (first && second && first.kid === second.kid) {
    throw invalid('/jwks/keys/1', 'has the same kid as the key before it')
  }
  if (first && second && thumbprint(first.jwk) === thumbprint(second.jwk)) {
    throw invalid('/jwks/keys/1', 'is the same key as the one before it')
  }
  return keys
}

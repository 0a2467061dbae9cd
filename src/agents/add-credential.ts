import { holdTenantOf } from '../db/hold-tenant.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, notFound, ProblemError } from '../http/problem.ts'
import { newSecret } from '../oauth/secret.ts'
import { describeCredential } from './agent.ts'
import { type CredentialRow, hasHadKey, listLiveCredentials } from './credential-queries.ts'
import { keepCredential } from './keep-credential.ts'
import { type PublicJwk, readPublicJwk } from './public-jwk.ts'
import { lockAgent } from './queries.ts'
import { hasSecret } from './registration.ts'
import type { Credential, NewCredential } from './schema.ts'

/**
 * A second key or secret, so that an agent can change over without a gap. The agent's row is locked, so two
 * calls at once do not make a third.
 * @throws {ProblemError} `not_found`, `validation_failed`, `already_exists` (the kid), `invalid_transition`
 *   when the agent is retired or has two live ones
 */
export async function addCredential(
  tx: Db,
  deps: Deps,
  agentId: string,
  { jwk }: NewCredential,
  admin: Admin,
): Promise<Credential> {
  const key = jwk === undefined ? undefined : await readPublicJwk('/jwk', jwk)
  await holdTenantOf(tx, 'agents', agentId)
  const agent = await lockAgent(tx, agentId)
  if (agent === undefined) throw notFound('agent')
  checkKind(agent, key !== undefined)
  if (agent.status === 'retired') {
    throw new ProblemError('invalid_transition', 'This agent is retired, which is final')
  }
  const live = await listLiveCredentials(tx, agentId)
  if (key !== undefined && live.some(({ kid }) => kid === key.kid)) {
    const detail = 'A live key of this agent has this kid'
    throw new ProblemError('already_exists', detail, { errors: [{ pointer: '/jwk/kid', detail }] })
  }
  if (key !== undefined) await refuseKnownKey(tx, agentId, key)
  const of = { agent, admin, now: deps.now(), slot: freeSlot(live) }
  if (key !== undefined) return describeCredential(await keepCredential(tx, { ...of, key }))
  const secret = newSecret()
  const row = await keepCredential(tx, { ...of, secret })
  return { ...describeCredential(row), client_secret: secret }
}

/** Under another name it would go on after its end; and who ended one may have done so because it leaked. */
async function refuseKnownKey(tx: Db, agentId: string, { jwk }: PublicJwk): Promise<void> {
  const known = await hasHadKey(tx, agentId, jwk)
  if (known === 'live') throw invalid('/jwk', 'is a key that this agent has already')
  if (known === 'ended') {
    throw invalid('/jwk', 'is a key of this agent that was ended, which is final: send a new one')
  }
}

function checkKind(agent: Row<'agents'>, isKey: boolean): void {
  const method = agent.token_endpoint_auth_method
  if (method === 'none') throw invalid('', 'A public client has no credentials')
  if (hasSecret(method)) {
    if (isKey) throw invalid('/jwk', 'is not for an agent with secrets: send {}')
    return
  }
  if (agent.client_metadata_url !== null) {
    throw invalid('/jwk', 'is not for an agent that publishes its keys by its metadata document')
  }
  if (agent.jwks_uri !== null) {
    throw invalid('/jwk', 'is not for an agent that publishes its keys at its jwks_uri')
  }
  if (!isKey) throw invalid('/jwk', 'is needed: this agent authenticates by a key of its own')
}

function freeSlot(live: CredentialRow[]): 1 | 2 {
  const free = ([1, 2] as const).find((slot) => live.every((taken) => taken.slot !== slot))
  if (free !== undefined) return free
  throw new ProblemError('invalid_transition', 'The agent has two live credentials: end one first')
}

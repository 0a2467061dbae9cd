import { isDeepStrictEqual } from 'node:util'
import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, notFound, ProblemError, requireSigned } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import { describeAgent } from './agent.ts'
import { listLiveCredentials } from './credential-queries.ts'
import { requireActiveOwner } from './gate.ts'
import { findAgent, lockAgent, shareOwner, updateAgent } from './queries.ts'
import {
  checkGrantTypes,
  checkJwksUri,
  checkRedirectUris,
  standardGrantTypes,
} from './registration.ts'
import type { Agent, AgentPatch } from './schema.ts'

/**
 * Applies a merge patch to an agent's registration. Its status has calls of its own.
 * @throws {ProblemError} `not_found`, `validation_failed`, `unsupported_value`, `owner_inactive`,
 *   `invalid_transition` (retired is final; stored keys stand in the way of a `jwks_uri`)
 */
export async function changeAgent(
  tx: Db,
  deps: Deps,
  id: string,
  patch: AgentPatch,
  admin: Admin,
): Promise<Agent> {
  // Before the agent's own lock: users come first in the order of locks.
  if (patch.owner_id !== undefined) await shareOwner(tx, patch.owner_id)
  const before = await lockAgent(tx, id)
  if (before === undefined) throw notFound('agent')
  if (before.status === 'retired') {
    throw new ProblemError('invalid_transition', 'This agent is retired, which is final')
  }
  if (before.client_metadata_url !== null) refuseDocumented(patch)
  const { id_token_signed_response_alg: alg } = patch
  requireSigned('/id_token_signed_response_alg', alg, deps.config.signingAlgs)
  const now = deps.now()
  const next = patchedColumns(before, patch, now)
  if (patch.grant_types) checkGrantTypes(before.token_endpoint_auth_method, patch.grant_types)
  if (patch.redirect_uris) checkRedirectUris(patch.redirect_uris)
  if (typeof patch.jwks_uri === 'string') await checkNewJwksUri(tx, deps, before, patch.jwks_uri)
  if (patch.owner_id !== undefined) {
    await requireActiveOwner(tx, { tenant_id: before.tenant_id, owner_id: patch.owner_id })
  }
  const changed = changedMembers(before, next)
  if (changed.length > 0) {
    await updateAgent(tx, id, { ...next, updated_at: now })
    await recordEvent(tx, {
      type: 'agent.updated',
      at: now,
      actor: byAdmin(admin),
      tenant_id: before.tenant_id,
      agent_id: id,
      ...(changed.includes('owner_id') ? { user_id: patch.owner_id } : {}),
      detail: { changed },
    })
  }
  const agent = await findAgent(tx, id)
  if (agent === undefined) throw notFound('agent')
  return describeAgent(agent)
}

function patchedColumns(before: Row<'agents'>, patch: AgentPatch, now: Date) {
  const { name = before.name, purpose = before.purpose, owner_id = before.owner_id } = patch
  const { environment = before.environment, jwks_uri = before.jwks_uri } = patch
  const {
    redirect_uris = before.redirect_uris,
    grant_types = before.grant_types,
    id_token_signed_response_alg = before.id_token_signed_response_alg,
    dpop_bound_access_tokens = before.dpop_bound_access_tokens,
  } = patch
  return {
    name,
    purpose,
    owner_id,
    environment,
    jwks_uri,
    expires_at:
      patch.expires_at === undefined
        ? before.expires_at
        : readFuture('/expires_at', patch.expires_at, now),
    redirect_uris: redirect_uris ?? [],
    grant_types: grant_types ?? standardGrantTypes(before.token_endpoint_auth_method),
    id_token_signed_response_alg: id_token_signed_response_alg ?? 'RS256',
    dpop_bound_access_tokens: dpop_bound_access_tokens ?? false,
  }
}

/** What an agent's own document says would be undone by the next change of it. */
function refuseDocumented(patch: AgentPatch): void {
  const member = DOCUMENTED.find((name) => patch[name] !== undefined)
  if (member === undefined) return
  throw invalid(
    `/${member}`,
    'comes from the client metadata document of this agent: change it there',
  )
}

const DOCUMENTED = [
  'name',
  'jwks_uri',
  'redirect_uris',
  'grant_types',
  'id_token_signed_response_alg',
  'dpop_bound_access_tokens',
] as const satisfies (keyof AgentPatch)[]

async function checkNewJwksUri(
  tx: Db,
  deps: Deps,
  agent: Row<'agents'>,
  jwksUri: string,
): Promise<void> {
  if (agent.token_endpoint_auth_method !== 'private_key_jwt') {
    throw invalid('/jwks_uri', 'is for token_endpoint_auth_method private_key_jwt alone')
  }
  checkJwksUri(jwksUri, deps.config.allowLoopbackHttp, deps.outbound.judge)
  if ((await listLiveCredentials(tx, agent.id)).length > 0) {
    throw new ProblemError(
      'invalid_transition',
      'Its keys come from a jwks_uri or from its credentials, not from both: end its live credentials first',
    )
  }
}

function changedMembers(before: Row<'agents'>, next: ReturnType<typeof patchedColumns>): string[] {
  const names = Object.keys(next) as (keyof typeof next)[]
  return names.filter((name) => !isDeepStrictEqual(next[name], before[name]))
}

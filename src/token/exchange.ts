import { type AuthenticatedAgent, authenticateAgent } from '../agents/authenticate.ts'
import type { ClientCredentials } from '../agents/client-credentials.ts'
import type { Reason } from '../audit/reason.ts'
import { newTimeOrderedId } from '../db/ids.ts'
import { openInteraction } from '../delegations/interaction.ts'
import { grantByPolicy } from '../delegations/policy-grant.ts'
import { findLatestEnded } from '../delegations/policy-queries.ts'
import type { Deps } from '../deps.ts'
import type { SigningAlg } from '../keys/key-ring.ts'
import { GRANT, TOKEN_TYPE, TYP } from '../oauth/names.ts'
import { addSeconds, numericDate } from '../oauth/numeric-date.ts'
import { joinScope } from '../oauth/scope.ts'
import { type Decision, decide } from '../policy/decide.ts'
import { endReusedFamily } from '../sessions/reuse.ts'
import { faultOfClient } from './client.ts'
import type { Facts, GatherFacts } from './facts.ts'
import { idJagClaims, LARGEST_ID_JAG } from './id-jag.ts'
import { countClient, countUser } from './limits.ts'
import { Refusal } from './refusals.ts'
import type { ExchangeRequest } from './request.ts'
import type { TokenResponse } from './schema.ts'
import type { Issuance, RecordIssuance } from './spend-and-record.ts'
import { type Subject, verifySubject } from './subject.ts'

/** The statements of the straight line, each shared by the requests in flight. */
export type Statements = { gatherFacts: GatherFacts; recordIssuance: RecordIssuance }

/** What is known of a request so far: filled step by step, for the audit event if it ends in a refusal. */
export type Progress = {
  request_id: string
  agent?: AuthenticatedAgent
  /** The client assertion was spent by a statement of its own, before something else was changed. */
  assertionSpent?: boolean
  facts?: Facts
  subject?: Subject
}

type Granted = Extract<Decision, { granted: true }>
type NotGranted = Exclude<Decision, Granted>

/** Times that a decision is made anew because something changed while it was being recorded. */
const MOST_ATTEMPTS = 5

/**
 * An ID token or refresh token in, an ID-JAG out (RFC 8693; TX-60 gives the order).
 * @throws {Refusal} with the true reason; {OAuthError} for the rest.
 */
export async function exchangeToken(
  deps: Deps,
  { gatherFacts, recordIssuance }: Statements,
  credentials: ClientCredentials,
  request: ExchangeRequest,
  progress: Progress,
): Promise<TokenResponse> {
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const now = deps.now()
    const facts = await gatherFacts(namesOf(credentials, request))
    progress.facts = facts

    const agent = await authenticateAgent(deps, credentials, facts.agent)
    if ('refused' in agent) throw new Refusal(agent.refused)
    progress.agent = progress.assertionSpent ? { ...agent, assertion: undefined } : agent
    if (attempt === 0) countClient(deps, agent.agent)
    const fault = faultOfClient(agent.agent, GRANT.tokenExchange, now)
    if (fault !== undefined) throw new Refusal(fault)
    if (credentials.method === 'none') throw new Refusal('public_client')

    const subject = verifySubject(deps, request.subject, agent.agent, facts)
    if ('refused' in subject) {
      if (subject.refused === 'spent_refresh_token') await endFamily(deps, facts, progress)
      throw new Refusal(subject.refused)
    }
    if (progress.subject === undefined) countUser(deps, subject.user.id)
    progress.subject = subject

    const decision = decide(request, knowledge(deps, facts, subject), now)
    if (!decision.granted) {
      if (decision.policy && (await madeByPolicy(deps, agent, subject, decision, progress)))
        continue
      throw await refusalOf(deps, agent, subject, decision, now, progress)
    }

    const jti = newTimeOrderedId('', now)
    const { issuer } = deps.config
    const claims = idJagClaims(
      issuer,
      agent.agent,
      subject,
      decision,
      request.correlation,
      jti,
      now,
    )
    const alg = decision.audience.id_jag_signing_alg as SigningAlg
    const { jws, kid } = await deps.keys.sign('id_jag', alg, TYP.idJag, claims)
    if (jws.length > LARGEST_ID_JAG) {
      throw new Refusal('id_jag_too_large')
    }

    const outcome = await recordIssuance(
      issuanceOf(request, progress.agent, subject, decision, {
        jti,
        kid,
        now,
        request_id: progress.request_id,
      }),
    )
    if (outcome === 'replayed') throw new Refusal('replayed_assertion')
    if (outcome === 'changed') continue
    deps.metrics.issued(decision.audience.profile)
    return tokenResponse(jws, claims, decision)
  }
  throw new Refusal('kept_changing', { retryAfter: 1 })
}

/**
 * Spends the client assertion before a request that will not mint changes anything else: whoever only
 * replays one authenticates nothing, and so opens no question and ends no family.
 */
async function spendAssertion(deps: Deps, progress: Progress): Promise<void> {
  const { agent } = progress
  if (agent?.assertion === undefined) return
  const fresh = await deps.db
    .insertInto('spent_assertions')
    .values({ ...agent.assertion, tenant_id: agent.agent.tenant_id })
    .onConflict((conflict) => conflict.doNothing())
    .returning('digest')
    .executeTakeFirst()
  progress.agent = { ...agent, assertion: undefined }
  progress.assertionSpent = true
  if (fresh === undefined) throw new Refusal('replayed_assertion')
}

async function endFamily(deps: Deps, facts: Facts, progress: Progress): Promise<void> {
  await spendAssertion(deps, progress)
  if (facts.family === undefined) return
  const reused = { family_id: facts.family.id, at: deps.now(), request_id: progress.request_id }
  await deps.db.transaction().execute((tx) => endReusedFamily(tx, reused))
}

function namesOf(
  credentials: ClientCredentials,
  { audiences, audience_other, subject }: ExchangeRequest,
) {
  return {
    client_id: credentials.clientId,
    audience: audiences[0] ?? null,
    audience_other: audience_other ?? null,
    family_id: subject.kind === 'id_token' ? subject.family_id : null,
    refresh_hash: subject.kind === 'refresh_token' ? subject.hash : null,
  }
}

const knowledge = (deps: Deps, facts: Facts, { user, session }: Subject) => ({
  user,
  audience: facts.audience,
  entitlement: facts.entitlement,
  delegation: facts.delegation,
  auth_time: session.auth_time,
  lifetime: deps.config.idJagLifetime,
})

/** True when there is a delegation now: the decision is then made anew, with it. */
async function madeByPolicy(
  deps: Deps,
  { agent }: AuthenticatedAgent,
  { user }: Subject,
  { audience }: NotGranted & { policy: object },
  progress: Progress,
): Promise<boolean> {
  await spendAssertion(deps, progress)
  const of = {
    tenant_id: agent.tenant_id,
    user_id: user.id,
    agent_id: agent.id,
    audience_id: audience.id,
  }
  const by = { kind: 'agent', id: agent.id, request_id: progress.request_id } as const
  return (await grantByPolicy(deps, of, by)) !== 'stopped'
}

/** The refusal of a decision, with what the caller needs to mend it: an interaction, or a bound on the sign-in's age. */
async function refusalOf(
  deps: Deps,
  { agent }: AuthenticatedAgent,
  { user }: Subject,
  decision: NotGranted,
  now: Date,
  progress: Progress,
): Promise<Refusal> {
  const { reason, asked, audience } = decision
  if (asked === undefined || audience === undefined) {
    const max_age = 'max_age' in decision ? decision.max_age : undefined
    return new Refusal(reason, max_age === undefined ? {} : { members: { max_age } })
  }
  await spendAssertion(deps, progress)
  const of = { user_id: user.id, agent_id: agent.id, audience_id: audience.id }
  const interaction = await openInteraction(deps, { tenant_id: agent.tenant_id, ...of, ...asked })
  return new Refusal(reason === 'no_delegation' ? await howItEnded(deps, of) : reason, {
    members: {
      interaction_uri: `${deps.config.issuer}/consent/${interaction.id}`,
      expires_in: Math.max(0, numericDate(interaction.expires_at) - numericDate(now)),
    },
  })
}

async function howItEnded(
  deps: Deps,
  of: { user_id: string; agent_id: string; audience_id: string },
): Promise<Reason> {
  const latest = await findLatestEnded(deps.db, of)
  if (latest?.status === 'consumed') return 'delegation_consumed'
  if (latest?.status === 'revoked') return 'delegation_revoked'
  return latest?.status === 'expired' ? 'delegation_expired' : 'no_delegation'
}

function issuanceOf(
  request: ExchangeRequest,
  { agent, credential_id, assertion }: AuthenticatedAgent,
  { user, session, family }: Subject,
  { audience, entitlement, delegation, resources, scopes, lifetime }: Granted,
  { jti, kid, now, request_id }: { jti: string; kid: string; now: Date; request_id: string },
): Issuance {
  return {
    jti,
    at: now,
    tenant_id: agent.tenant_id,
    user_id: user.id,
    user_version: user.version,
    agent_id: agent.id,
    agent_version: agent.version,
    owner_id: agent.owner_id ?? '',
    audience_id: audience.id,
    audience_version: audience.version,
    entitlement_id: entitlement.id,
    entitlement_version: entitlement.version,
    delegation_id: delegation.id,
    delegation_version: delegation.version,
    once: delegation.mode === 'once',
    credential_id,
    session_id: session.id,
    family_id: family.id,
    refresh_hash: request.subject.kind === 'refresh_token' ? request.subject.hash : null,
    assertion_digest: assertion?.digest ?? null,
    assertion_expires_at: assertion?.expires_at ?? null,
    resources,
    scopes,
    kid,
    auth_time: session.auth_time,
    expires_at: addSeconds(now, lifetime),
    agent_context_id: request.correlation.agent_context_id ?? null,
    request_id,
  }
}

function tokenResponse(
  idJag: string,
  claims: Record<string, unknown>,
  { scopes, lifetime }: Granted,
): TokenResponse {
  return {
    issued_token_type: TOKEN_TYPE.idJag,
    access_token: idJag,
    token_type: 'N_A',
    expires_in: lifetime,
    ...(scopes.length > 0 && { scope: joinScope(scopes) }),
    ...(claims.resource !== undefined && { resource: claims.resource as string | string[] }),
  }
}

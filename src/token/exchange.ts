import type { NamedClient } from '../agents/recognise.ts'
import { newTimeOrderedId } from '../db/ids.ts'
import type { Deps } from '../deps.ts'
import { GRANT, TYP } from '../oauth/names.ts'
import { secondsBetween } from '../oauth/numeric-date.ts'
import { decide } from '../policy/decide.ts'
import { endReusedFamily } from '../revoke/reused-family.ts'
import { findEventOfActors } from './actor-queries.ts'
import { type VerifiedActor, verifyActors } from './actors.ts'
import { faultOfClient } from './client.ts'
import { authenticateCaller, type Caller } from './delegate-token.ts'
import type { Facts, GatherFacts } from './facts.ts'
import { idJagClaims, LARGEST_ID_JAG, tooLarge } from './id-jag.ts'
import { issuanceOf, tokenResponse } from './issuance.ts'
import { knowledge } from './knowledge.ts'
import { countClient, countUser } from './limits.ts'
import { asIfMade, madeByPolicy, refusalOf } from './not-granted.ts'
import { keepProof, type Progress, spendPresented } from './progress.ts'
import type { ProveKey } from './prove-key.ts'
import { recogniseCaller, withDocument } from './recognise-caller.ts'
import { Refusal } from './refusals.ts'
import type { ExchangeRequest } from './request.ts'
import type { TokenResponse } from './schema.ts'
import type { RecordIssuance } from './spend-and-record.ts'
import { verifySubject } from './subject.ts'
import { findUpstream, verifyUpstream } from './upstream.ts'

/** What the straight line asks of others: its statements, each shared by the requests in flight, and the DPoP judge. */
export type Steps = {
  gatherFacts: GatherFacts
  proveKey: ProveKey
  recordIssuance: RecordIssuance
}

/** Times that a decision is made anew because something changed while it was being recorded. */
const MOST_ATTEMPTS = 5

/** Seconds after which a client is asked to come again at the latest, while an event waits. */
const LONGEST_WAIT = 60

/**
 * A subject token in, an ID-JAG out (RFC 8693; TX-60 gives the order).
 * @throws {Refusal} with the true reason; {OAuthError} for the rest.
 */
export async function exchangeToken(
  deps: Deps,
  { gatherFacts, proveKey, recordIssuance }: Steps,
  caller: Caller,
  request: ExchangeRequest,
  progress: Progress,
): Promise<TokenResponse> {
  const { credentials, dpop } = caller
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const now = deps.now()
    const client = await recogniseCaller(deps, credentials, progress)
    const upstream =
      request.subject.kind === 'upstream'
        ? await findUpstream(deps, client.id, request.subject)
        : undefined
    const names = namesOf(client, request, upstream?.user_id)
    const facts = withDocument(await gatherFacts(names), client)
    progress.facts = facts

    const agent = await authenticateCaller(deps, proveKey, caller, facts, progress)
    if ('refused' in agent) throw new Refusal(agent.refused)
    progress.agent = agent
    if (attempt === 0) countClient(deps, agent.agent)
    const fault = faultOfClient(agent.agent, GRANT.tokenExchange, now)
    if (fault !== undefined) throw new Refusal(fault)
    if (agent.agent.token_endpoint_auth_method === 'none') throw new Refusal('public_client')

    const jkt = keepProof(progress, proveKey(dpop, agent.agent))?.jkt

    await deps.keys.upToDate()
    const subject =
      request.subject.kind === 'upstream'
        ? await verifyUpstream(deps, request.subject, agent.agent, upstream, facts, progress)
        : verifySubject(deps, request.subject, agent.agent, facts, jkt)
    if ('provisioned' in subject) continue
    if ('refused' in subject) {
      if (subject.refused === 'spent_refresh_token') await endFamily(deps, facts, progress)
      throw new Refusal(subject.refused)
    }
    // Once, however often it is decided anew.
    if (progress.subject === undefined) countUser(deps, subject.user.id)
    progress.subject = subject
    const actors = await actorsOf(deps, request, facts, progress)

    const known = knowledge(deps, facts, subject, actors, jkt)
    const decision = decide(request, known, now)
    if (!decision.granted) {
      if (decision.policy) {
        const then = decide(request, asIfMade(known, decision), now)
        if (await madeByPolicy(deps, agent, subject, decision, then, progress)) continue
      }
      throw await refusalOf(deps, agent, subject, decision, now, progress)
    }
    const { tenant_id } = agent.agent
    const event =
      facts.event ?? (await findEventOfActors(deps.db, actors, { tenant_id, ...decision }))
    if (event) {
      throw new Refusal('revocation_pending', { retryAfter: secondsUntil(event, now) })
    }

    const jti = newTimeOrderedId('', now)
    const claims = idJagClaims(
      deps.config.issuer,
      { agent: agent.agent, actors, jkt },
      subject,
      facts.account,
      decision,
      request.correlation,
      jti,
      now,
    )
    const wanted = decision.audience.id_jag_signing_alg
    const alg = deps.keys.algFor('id_jag', wanted)
    const { jws, kid } = await deps.keys.sign('id_jag', alg, TYP.idJag, claims)
    if (jws.length > LARGEST_ID_JAG) {
      throw new Refusal(tooLarge(decision))
    }

    const minted = { jti, kid, now }
    const outcome = await recordIssuance(
      issuanceOf(request, progress, subject, decision, actors, minted),
    )
    if (outcome === 'replayed') throw new Refusal('replayed_assertion')
    if (outcome === 'replayed_proof') {
      // The statement has spent the client assertion: the refusal must not find it spent.
      progress.spent = true
      throw new Refusal('replayed_dpop_proof')
    }
    if (outcome === 'changed') {
      // It may be the key.
      await deps.keys.refresh()
      continue
    }
    deps.metrics.issued(decision.audience.profile)
    return tokenResponse(jws, claims, decision)
  }
  throw new Refusal('kept_changing', { retryAfter: 1 })
}

/** Seconds until an event may have arrived: soon, or after its next attempt, but not so late that nobody asks again. */
function secondsUntil({ due_at }: NonNullable<Facts['event']>, now: Date): number {
  const seconds = due_at === null ? 0 : Math.ceil(secondsBetween(now, due_at))
  return Math.min(Math.max(seconds + 1, 1), LONGEST_WAIT)
}

/** Whoever acts for the client, judged and spent; nobody, for a request without an actor token. */
async function actorsOf(
  deps: Deps,
  { actor_token }: ExchangeRequest,
  facts: Facts,
  progress: Progress,
): Promise<VerifiedActor[]> {
  const { agent, subject } = progress
  if (actor_token === undefined || agent === undefined || subject === undefined) return []
  const of = { user_id: subject.user.id, audience_id: facts.audience?.id ?? null }
  const verdict = await verifyActors(deps, actor_token, agent.agent, of)
  if ('refused' in verdict) throw new Refusal(verdict.refused)
  await spendPresented(deps, progress, verdict.presented)
  return verdict.actors
}

async function endFamily(deps: Deps, facts: Facts, progress: Progress): Promise<void> {
  await spendPresented(deps, progress)
  if (facts.family === undefined) return
  const { id: family_id, user_id, agent_id } = facts.family
  const { request_id } = progress
  const reused = { what: 'refresh_token', family_id, user_id, agent_id, request_id } as const
  await deps.db.transaction().execute((tx) => endReusedFamily(tx, deps, reused))
}

function namesOf(
  { id }: NamedClient,
  { audiences, audience_other, subject }: ExchangeRequest,
  user_id: string | null | undefined,
) {
  return {
    client_id: id,
    audience: audiences[0] ?? null,
    audience_other: audience_other ?? null,
    family_id: 'family_id' in subject ? subject.family_id : null,
    refresh_hash: subject.kind === 'refresh_token' ? subject.hash : null,
    user_id: user_id ?? null,
  }
}

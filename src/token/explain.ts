/**
 * What the token endpoint would answer to an exchange, and why: the same facts, the same steps in the same
 * order, the same policy.
 *
 *  1. It says what the endpoint would: test/token/explain-agrees.test.ts holds the two against each other.
 *  2. It issues nothing and writes nothing, neither an audit event nor a question to the user.
 *  3. What only a token or a proof can show is taken for good; what the records say is asked for.
 */
import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import { newTimeOrderedId } from '../db/ids.ts'
import { isPolicyStoppedUnder } from '../delegations/policy-queries.ts'
import type { Deps } from '../deps.ts'
import { OAuthError } from '../oauth/errors.ts'
import { TOKEN_TYPE } from '../oauth/names.ts'
import { joinScope } from '../oauth/scope.ts'
import { type Decision, decide, type Knowledge } from '../policy/decide.ts'
import { findEventOfActors } from './actor-queries.ts'
import type { Circumstances } from './condition.ts'
import type { Steps } from './exchange.ts'
import type { ExplainRequest, Explanation } from './explain-schema.ts'
import { idJagClaims, LARGEST_ID_JAG, sizeOfIdJag, tooLarge } from './id-jag.ts'
import { knowledge } from './knowledge.ts'
import { missingFor } from './missing.ts'
import { asIfMade, type NotGranted, trueReason, wantedSignIn } from './not-granted.ts'
import { isTold, Refusal } from './refusals.ts'
import { type ExchangeRequest, readExchangeRequest } from './request.ts'
import { faultOfSupposedClient, supposedActors, supposedSubject } from './supposed.ts'
import { supposedUpstream } from './supposed-upstream.ts'

type Granted = Extract<Decision, { granted: true }>

/** Of the key of a proof that is not there: only that there is one counts. */
const SOME_KEY = 'x'.repeat(43)

export async function explain(
  deps: Deps,
  { gatherFacts, proveKey }: Pick<Steps, 'gatherFacts' | 'proveKey'>,
  asked: ExplainRequest,
  auth_time: Date,
): Promise<Explanation> {
  const request = readAsked(asked, deps.config)
  if (request instanceof OAuthError) return malformed(request)
  const now = deps.now()
  const facts = await gatherFacts(namesOf(asked, request))
  const of: Circumstances = { asked, request, facts }

  const { agent } = facts
  if (agent === undefined) return refused('unknown_client', of)
  const fault = faultOfSupposedClient(agent, now)
  if (fault !== undefined) return refused(fault, of)
  const proved = asked.dpop ? { proof: { jkt: SOME_KEY } } : proveKey(undefined, agent)
  if ('refused' in proved) return refused(proved.refused, of)
  const jkt = proved.proof?.jkt

  const { subject_issuer: issuer = deps.config.issuer } = asked
  const subject =
    issuer === deps.config.issuer || request.subject.kind !== 'id_token'
      ? supposedSubject(asked, auth_time, request, facts, agent)
      : await supposedUpstream(deps, asked, issuer, auth_time, facts, agent)
  if ('refused' in subject) return refused(subject.refused, of)
  const actors = await supposedActors(deps, asked, agent, subject, facts)
  if ('refused' in actors) return refused(actors.refused, of)

  const known = knowledge(deps, facts, subject, actors, jkt)
  const decision = await decideOrGrant(deps, request, known, agent, now)
  if (!decision.granted) {
    const reason = await reasonOf(deps, decision, known, agent)
    return refused(reason, { ...of, decision })
  }
  const claims = idJagClaims(
    deps.config.issuer,
    { agent, actors, jkt },
    subject,
    facts.account,
    decision,
    {},
    newTimeOrderedId('', now),
    now,
  )
  const wanted = decision.audience.id_jag_signing_alg
  const alg = deps.keys.algFor('id_jag', wanted)
  if (sizeOfIdJag(alg, claims) > LARGEST_ID_JAG) return refused(tooLarge(decision), of)
  const { tenant_id } = agent
  const event =
    facts.event ?? (await findEventOfActors(deps.db, actors, { tenant_id, ...decision }))
  if (event) return refused('revocation_pending', { ...of, facts: { ...facts, event } })
  return granted(decision, claims)
}

/** As the endpoint reads it, with a subject token that has nothing in it. */
function readAsked(
  { audience, resource, scope, authorization_details, subject_token_type }: ExplainRequest,
  config: Deps['config'],
): ExchangeRequest | OAuthError {
  try {
    return readExchangeRequest(
      {
        grant_type: '',
        requested_token_type: TOKEN_TYPE.idJag,
        audience,
        resource,
        scope,
        authorization_details:
          typeof authorization_details === 'object'
            ? JSON.stringify(authorization_details)
            : authorization_details,
        subject_token: '-',
        subject_token_type: subject_token_type ?? TOKEN_TYPE.idToken,
      },
      config,
    )
  } catch (error) {
    if (error instanceof OAuthError) return error
    throw error
  }
}

const namesOf = ({ agent_id, user_id }: ExplainRequest, request: ExchangeRequest) => ({
  client_id: agent_id,
  audience: request.audiences[0] ?? null,
  audience_other: request.audience_other ?? null,
  family_id: null,
  refresh_hash: null,
  user_id,
})

/** The decision; where only a delegation lacks that a mint would make, the one with it. */
async function decideOrGrant(
  deps: Deps,
  request: ExchangeRequest,
  known: Knowledge,
  agent: AgentFacts,
  now: Date,
): Promise<Decision> {
  const decision = decide(request, known, now)
  if (decision.granted || decision.policy === undefined) return decision
  const of = { user_id: known.user.id, agent_id: agent.id, audience_id: decision.audience.id }
  const stopped = await isPolicyStoppedUnder(deps.db, of, decision.policy.id)
  return stopped ? decision : decide(request, asIfMade(known, decision), now)
}

async function reasonOf(
  deps: Deps,
  { reason, asked, audience }: NotGranted,
  { user }: Knowledge,
  agent: AgentFacts,
): Promise<Reason> {
  if (asked === undefined || audience === undefined) return reason
  const of = { user_id: user.id, agent_id: agent.id, audience_id: audience.id }
  return trueReason(deps, of, reason)
}

function granted(
  { scopes, details, claims: told, delegation }: Granted,
  { resource }: Record<string, unknown>,
): Explanation {
  return {
    granted: true,
    ...(scopes.length > 0 && { scope: joinScope(scopes) }),
    ...(resource !== undefined && { resource: resource as string | string[] }),
    ...(details.length > 0 && { authorization_details: details }),
    claims: told,
    delegation_id: delegation.id || null,
    missing: [],
  }
}

function refused(reason: Reason, of: Circumstances): Explanation {
  const { code, message } = new Refusal(reason).toOAuthError()
  const members = of.decision === undefined ? {} : wantedSignIn(of.decision)
  const both = reason === 'weak_authentication' && members.max_age !== undefined
  const reasons = both ? [reason, 'stale_authentication' as const] : [reason]
  return {
    granted: false,
    error: code,
    error_description: message,
    ...members,
    reason,
    missing: reasons.filter(isTold).map((one) => missingFor(one, of)),
  }
}

/** What the endpoint says of the shape of a request, which no audit event has. */
const malformed = ({ code, message }: OAuthError): Explanation => ({
  granted: false,
  error: code,
  error_description: message,
  reason: 'malformed_request',
  missing: [{ rule: 'TX-29', detail: message }],
})

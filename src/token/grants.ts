/**
 * What an agent may do about the delegations of the user whose token it carries (GR-05): see them, give them
 * up, and ask for one. It allows itself nothing: what it asks for is put to the user, on the consent page, or
 * was decided by an administrator for everyone.
 */

import type { AuthenticatedAgent } from '../agents/authenticate.ts'
import { recordEvent } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { sameDetails } from '../oauth/authorization-details.ts'
import { GRANT } from '../oauth/names.ts'
import { type Decision, decide, type Knowledge } from '../policy/decide.ts'
import type { Permitted } from '../policy/delegated.ts'
import { endDelegation } from '../revoke/end-delegations.ts'
import { askUser } from './ask-user.ts'
import { faultOfClient } from './client.ts'
import { authenticateCaller, type Caller, type DelegateToken } from './delegate-token.ts'
import type { Steps } from './exchange.ts'
import { clientAlone, type Facts } from './facts.ts'
import { listGrants } from './grant-queries.ts'
import { knowledge } from './knowledge.ts'
import { countClient, countUser } from './limits.ts'
import { asIfMade, madeByPolicy } from './not-granted.ts'
import { keepProof, type Progress, spendPresented } from './progress.ts'
import { recogniseCaller, withDocument } from './recognise-caller.ts'
import { Refusal } from './refusals.ts'
import type { ExchangeRequest } from './request.ts'
import { type Subject, verifySubject } from './subject.ts'

/** A request to this door, as far as it is known. */
export type Visit = {
  steps: Steps
  caller: Caller<DelegateToken>
  progress: Progress
}
type Grant = Awaited<ReturnType<typeof listGrants>>[number]
type Asked = { grant: Grant } | { interaction_uri: string; expires_in: number }

/** Times that it is decided anew because something changed meanwhile. */
const MOST_ATTEMPTS = 5

/** @throws {Refusal} */
export async function findGrants(deps: Deps, visit: Visit): Promise<Grant[]> {
  const { agent, subject } = await admit(deps, visit)
  return listGrants(deps.db, { user_id: subject.user.id, agent_id: agent.agent.id }, deps.now())
}

/**
 * The live delegation that covers what is asked for, or else the question that was put to the user.
 * @throws {Refusal} where the user's consent would not help
 */
export async function askForGrant(
  deps: Deps,
  visit: Visit,
  request: ExchangeRequest,
): Promise<Asked> {
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const { agent, subject, facts } = await admit(deps, visit, request)
    const now = deps.now()
    const known = aboutGrant(knowledge(deps, facts, subject, [], undefined))
    const held = decide(request, known, now)
    const wanted = decide(request, { ...known, delegation: undefined }, now)
    if (wanted.granted) throw new Error('something was granted without a delegation')
    if (wanted.asked === undefined || wanted.audience === undefined) {
      throw new Refusal(wanted.reason)
    }
    const of = { user_id: subject.user.id, agent_id: agent.agent.id }
    if (held.granted && covers(held, wanted.asked)) {
      const grants = await listGrants(deps.db, of, now)
      const grant = grants.find(({ id }) => id === held.delegation.id)
      if (grant) return { grant }
      continue
    }
    if (!held.granted && held.policy) {
      const then = decide(request, asIfMade(known, held), now)
      const may = then.granted
      if (may && (await madeByPolicy(deps, agent, subject, held, then, visit.progress))) continue
    }
    const { tenant_id } = agent.agent
    const about = { tenant_id, ...of, audience_id: wanted.audience.id }
    const { id, ...pending } = await askUser(deps, { ...about, ...wanted.asked }, now)
    await recordEvent(deps.db, {
      type: 'interaction.requested',
      at: now,
      actor: byAgent(agent, visit.progress),
      ...about,
      detail: { interaction_id: id },
    })
    return pending
  }
  throw new Refusal('kept_changing', { retryAfter: 1 })
}

/**
 * Ends a delegation of this user to this agent; one that had ended stays as it was.
 * @returns whether there is such a delegation
 * @throws {Refusal}
 */
export async function giveUpGrant(deps: Deps, visit: Visit, id: string): Promise<boolean> {
  const { agent, subject } = await admit(deps, visit)
  if (!/^dlg_[A-Za-z0-9_-]{22}$/.test(id)) return false
  const of = { user_id: subject.user.id, agent_id: agent.agent.id }
  const by = byAgent(agent, visit.progress)
  return deps.db.transaction().execute((tx) => endDelegation(tx, deps, id, by, of))
}

const byAgent = ({ agent }: AuthenticatedAgent, { request_id }: Progress) =>
  ({ kind: 'agent', id: agent.id, request_id }) as const

/** An ID-JAG may also want a key and a fresh sign-in, which are nothing that a user allows. */
const aboutGrant = (known: Knowledge): Knowledge => ({
  ...known,
  audience: known.audience && {
    ...known.audience,
    dpop_required: false,
    max_auth_age: null,
    acr_values: [],
  },
})

/** All that may be had of what was asked for, and not just a part as for an ID-JAG. */
const covers = (
  held: Extract<Decision, { granted: true }>,
  { scopes, resources, details }: Permitted,
): boolean =>
  scopes.every((scope) => held.scopes.includes(scope)) &&
  resources.every((resource) => held.resources.includes(resource)) &&
  sameDetails(held.details, details)

/**
 * The first half of the straight line: who asks, that they may, and for whom.
 * @throws {Refusal}
 */
async function admit(
  deps: Deps,
  { steps, caller, progress }: Visit,
  { audiences, audience_other }: Partial<ExchangeRequest> = {},
): Promise<{ agent: AuthenticatedAgent; subject: Subject; facts: Facts }> {
  const { credentials, dpop } = caller
  const client = await recogniseCaller(deps, credentials, progress)
  const gathered = await steps.gatherFacts({
    ...clientAlone(client.id),
    audience: audiences?.[0] ?? null,
    audience_other: audience_other ?? null,
    family_id: credentials.subject.family_id,
  })
  const facts = withDocument(gathered, client)
  progress.facts = facts
  const agent = await authenticateCaller(deps, steps.proveKey, caller, facts, progress)
  if ('refused' in agent) throw new Refusal(agent.refused)
  const first = progress.agent === undefined
  progress.agent = agent
  if (first) countClient(deps, agent.agent)
  const fault = faultOfClient(agent.agent, GRANT.tokenExchange, deps.now())
  if (fault !== undefined) throw new Refusal(fault)
  if (agent.agent.token_endpoint_auth_method === 'none') throw new Refusal('public_client')

  const jkt = keepProof(progress, steps.proveKey(dpop, agent.agent))?.jkt
  const subject = verifySubject(deps, credentials.subject, agent.agent, facts, jkt)
  if ('refused' in subject) throw new Refusal(subject.refused)
  if (progress.subject === undefined) countUser(deps, subject.user.id)
  progress.subject = subject
  await spendPresented(deps, progress)
  return { agent, subject, facts }
}

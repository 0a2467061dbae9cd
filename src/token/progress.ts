import type { AuthenticatedAgent } from '../agents/authenticate.ts'
import { type Presented, spend } from '../agents/spend.ts'
import type { Deps } from '../deps.ts'
import type { Facts } from './facts.ts'
import type { Proof, Proved } from './prove-key.ts'
import { Refusal } from './refusals.ts'
import type { Subject } from './subject.ts'

/** What is known of a request so far: filled step by step, for the audit event if it ends in a refusal. */
export type Progress = {
  request_id: string
  /** Where it came from. */
  address?: string
  agent?: AuthenticatedAgent
  /** Of the key that the request proved to hold. */
  proof?: Proof | undefined
  /** For `DPoP-Nonce`: what the next proof needs, where that is not what this one has. */
  nonce?: string | undefined
  /** What was presented was spent by a statement of its own, before something else was changed. */
  spent?: boolean
  /** The same of actor tokens, which are known later. */
  spentActors?: boolean
  facts?: Facts
  subject?: Subject
}

/** @throws {Refusal} for a proof that does not hold, or is missing */
export function keepProof(progress: Progress, proved: Proved): Proof | undefined {
  if ('refused' in proved) throw new Refusal(proved.refused, { dpopNonce: proved.nonce })
  progress.proof = proved.proof
  progress.nonce = proved.nonce
  return proved.proof
}

/** What the statement that records the outcome has to spend: nothing, where that is done. */
export const toSpend = ({ agent, proof, spent }: Progress) =>
  spent ? {} : { assertion: agent?.assertion, proof }

/**
 * Spends what was presented before a request that will not mint changes anything else, or before more than
 * the recording statement takes: whoever only replays authenticates nothing, and so opens no question and
 * ends no family.
 * @throws {Refusal} for what was presented before
 */
export async function spendPresented(
  deps: Pick<Deps, 'db'>,
  progress: Progress,
  more: readonly Presented[] = [],
): Promise<void> {
  const { agent } = progress
  if (agent === undefined) return
  const { assertion, proof } = toSpend(progress)
  const others = progress.spentActors ? [] : more
  const all = [assertion, proof, ...others].flatMap((one) => one ?? [])
  progress.spent = true
  if (more.length > 0) progress.spentActors = true
  const replayed = await spend(deps.db, agent.agent.tenant_id, all)
  if (assertion && replayed.includes(assertion)) throw new Refusal('replayed_assertion')
  if (proof && replayed.includes(proof)) throw new Refusal('replayed_dpop_proof')
  if (replayed.length > 0) throw new Refusal('replayed_actor_token')
}

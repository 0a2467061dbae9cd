import type { AuthenticatedAgent } from '../agents/authenticate.ts'
import type { Deps } from '../deps.ts'
import type { Facts } from './facts.ts'
import type { Proof } from './prove-key.ts'
import { Refusal } from './refusals.ts'
import type { Subject } from './subject.ts'

/** Something that may be presented once: until when its digest is remembered. */
export type Presented = { digest: Buffer; expires_at: Date }

/** What is known of a request so far: filled step by step, for the audit event if it ends in a refusal. */
export type Progress = {
  request_id: string
  agent?: AuthenticatedAgent
  /** Of the key that the request proved to hold. */
  proof?: Proof | undefined
  /** What was presented was spent by a statement of its own, before something else was changed. */
  spent?: boolean
  facts?: Facts
  subject?: Subject
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
  if (progress.spent || agent === undefined) return
  const { assertion, proof } = toSpend(progress)
  const { tenant_id } = agent.agent
  const all = [assertion, proof, ...more].flatMap((one) => one ?? [])
  progress.spent = true
  if (all.length === 0) return
  const fresh = await deps.db
    .insertInto('spent_assertions')
    .values(all.map(({ digest, expires_at }) => ({ digest, expires_at, tenant_id })))
    .onConflict((conflict) => conflict.doNothing())
    .returning('digest')
    .execute()
  const isFresh = (one: Presented) => fresh.some(({ digest }) => digest.equals(one.digest))
  if (assertion && !isFresh(assertion)) throw new Refusal('replayed_assertion')
  if (proof && !isFresh(proof)) throw new Refusal('replayed_dpop_proof')
  if (!more.every(isFresh)) throw new Refusal('replayed_actor_token')
}

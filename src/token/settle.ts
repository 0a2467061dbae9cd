import type { Transaction } from 'kysely'
import type { AuthenticatedAgent } from '../agents/authenticate.ts'
import { spend } from '../agents/spend.ts'
import type { Reason } from '../audit/reason.ts'
import { recordEvent } from '../audit/record.ts'
import type { Db, Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { type GrantRefusal, grantError } from './grant-error.ts'
import { uncount } from './limits.ts'
import type { Proof } from './prove-key.ts'

/** Who asks, with the proof of a key that came along. */
export type Client = AuthenticatedAgent & { proof?: Proof | undefined }

/** What the request says besides its parameters. */
export type Context = { request_id?: string | undefined }

type Settling = Context & {
  client: Client
  /** Type of the audit event of a refusal. */
  event: string
}

/**
 * Runs one grant in one transaction, and writes a refusal down with its true reason (design §2, rule 6).
 *
 * The client's assertion and its DPoP proof are spent before, and for good: while their rows were
 * uncommitted, a batch of mints in which they come again would wait for this grant, and this grant might
 * wait for a row that the batch shares.
 * @throws {OAuthError} for a refusal, once that is committed.
 */
export async function settle<Answer extends object>(
  deps: Deps,
  { client, event, request_id }: Settling,
  grant: (tx: Transaction<Tables>) => Promise<Answer | GrantRefusal>,
): Promise<Answer> {
  const replayed = await spendProofs(deps.db, client)
  if (replayed === 'replayed_assertion') uncount(deps, { agent: client })
  const outcome = await deps.db
    .transaction()
    .execute(async (tx): Promise<Answer | GrantRefusal> => {
      const settled = replayed ? { refused: replayed } : await grant(tx)
      if (!isRefusal(settled)) return settled
      await recordEvent(tx, {
        type: event,
        at: deps.now(),
        actor: { kind: 'agent', id: client.agent.id },
        tenant_id: client.agent.tenant_id,
        agent_id: client.agent.id,
        user_id: settled.user_id,
        error: grantError(settled).code,
        reason: settled.refused,
        request_id,
      })
      return settled
    })
  if (!isRefusal(outcome)) return outcome
  const error = grantError(outcome)
  deps.metrics.refused(error.code, outcome.refused)
  throw error
}

const isRefusal = (outcome: object): outcome is GrantRefusal => 'refused' in outcome

/** What of the two was presented before. A client whose assertion was did not authenticate: that comes first. */
async function spendProofs(
  db: Db,
  { agent, assertion, proof }: Client,
): Promise<Reason | undefined> {
  const presented = [assertion, proof].flatMap((one) => one ?? [])
  const replayed = await spend(db, agent.tenant_id, presented)
  if (assertion && replayed.includes(assertion)) return 'replayed_assertion'
  return replayed.length > 0 ? 'replayed_dpop_proof' : undefined
}

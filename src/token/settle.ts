import type { AuthenticatedAgent } from '../agents/authenticate.ts'
import { recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { type GrantRefusal, grantError } from './grant-error.ts'
import { uncount } from './limits.ts'

/** What the request says besides its parameters. */
export type Context = { request_id?: string | undefined }

type Settling = Context & {
  client: AuthenticatedAgent
  /** Type of the audit event of a refusal. */
  event: string
}

/**
 * Runs one grant in one transaction, and writes a refusal down with its true reason (design §2, rule 6).
 *
 * The client's assertion is spent before, and for good: while its row were uncommitted, a batch of mints in
 * which it comes again would wait for this grant, and this grant might wait for a row that the batch shares.
 * @throws {OAuthError} for a refusal, once that is committed.
 */
export async function settle<Answer extends object>(
  deps: Deps,
  { client, event, request_id }: Settling,
  grant: (tx: Db) => Promise<Answer | GrantRefusal>,
): Promise<Answer> {
  const spent = await spendAssertion(deps.db, client)
  if (!spent) uncount(deps, { agent: client })
  const outcome = await deps.db
    .transaction()
    .execute(async (tx): Promise<Answer | GrantRefusal> => {
      const settled = spent ? await grant(tx) : { refused: 'replayed_assertion' as const }
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

/** False when the assertion was presented before. */
async function spendAssertion(
  db: Db,
  { agent, assertion }: Pick<AuthenticatedAgent, 'agent' | 'assertion'>,
): Promise<boolean> {
  if (!assertion) return true
  const spent = await db
    .insertInto('spent_assertions')
    .values({ ...assertion, tenant_id: agent.tenant_id })
    .onConflict((conflict) => conflict.doNothing())
    .returning('digest')
    .executeTakeFirst()
  return spent !== undefined
}

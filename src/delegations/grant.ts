import type { Transaction } from 'kysely'
import { type Actor, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { hurry } from '../events/hurry.ts'
import type { AuthorizationDetail } from '../oauth/authorization-details.ts'
import { type Delegation, effectiveStatus } from './delegation.ts'
import { type Excess, excess } from './excess.ts'
import type { Parties } from './lock.ts'
import { endReplaced, insertDelegation, lockLiveDelegation } from './queries.ts'
import { subjectFor } from './subject.ts'

export type NewDelegation = {
  scopes: string[]
  /** Null: every resource the entitlement allows. */
  resources: string[] | null
  authorization_details: AuthorizationDetail[]
  /** What the audience may be told of the user beside `sub`. */
  claims: string[]
  mode: Delegation['mode']
  /** It outlives the session of its user. */
  offline: boolean
  source: 'user' | 'admin'
  text_version: string | null
  expires_at: Date | null
}
export type Granted = { granted: true; delegation: Delegation } | ({ granted: false } & Excess)

/**
 * Makes a delegation between parties that the caller has locked, in the caller's transaction, and ends the
 * live one it replaces: `revoked` with the reason `replaced`, or `expired` when its time had passed. Never
 * merged with it, and no relying app is told (rule 2). What exceeds entitlement or catalogue is refused here
 * whoever asks.
 */
export async function grantDelegation(
  tx: Transaction<Tables>,
  deps: Deps,
  { of, entitlement, audience }: Parties,
  given: NewDelegation,
  by: Actor,
): Promise<Granted> {
  const now = deps.now()
  const beyond = excess(given, { entitlement, audience })
  if (beyond) return { granted: false, ...beyond }
  const sub_asserted = await subjectFor(tx, of, audience, now)

  // Another grant or a first policy mint may insert between the lock, which finds no row, and our insert,
  // which then waits for it and yields: its row is the live one to replace.
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const replaced = await lockLiveDelegation(tx, of)
    if (replaced) await endReplaced(tx, replaced.id, effectiveStatus(replaced, now), now)
    const delegation = await insertDelegation(tx, {
      id: newId('dlg'),
      ...of,
      ...given,
      authorization_details: JSON.stringify(given.authorization_details),
      sub_asserted,
      created_at: now,
    })
    if (!delegation) continue
    // What is left of an earlier ending is told first, or this could not be used (EV-14).
    await hurry(tx, { audience_id: of.audience_id, sub: sub_asserted })
    await recordEvent(tx, {
      type: 'delegation.granted',
      at: now,
      actor: by,
      ...of,
      delegation_id: delegation.id,
      detail: {
        mode: given.mode,
        source: given.source,
        ...(given.offline ? { offline: true } : {}),
        ...(replaced ? { replaces: replaced.id } : {}),
      },
    })
    return { granted: true, delegation }
  }
  throw new Error('a delegation of the same three parties was made again and again meanwhile')
}

const MOST_ATTEMPTS = 20

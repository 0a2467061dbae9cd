/**
 * A refresh token family: what grew from one redeemed code.
 *
 *   begun ──rotate──▶ (one current token, the others spent) ──▶ ended
 *     └ without offline_access: no token at all           ▲
 *                                     a spent one again ──┘  revocation, new password, its code again;
 *                                                            sign-out ends one without a token
 *
 * There is no grace for a spent token: who lost an answer signs in again (OP-22). Ended is for good. A token
 * rotates while its session lives; afterwards it can be nothing but the subject of an exchange.
 */

import { newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { hashSecret, newSecret } from '../oauth/secret.ts'
import { refreshTokenExpiry } from './family.ts'
import {
  type Family,
  insertFamily,
  insertRefreshToken,
  type NewFamily,
  spendRefreshToken,
} from './family-queries.ts'

/** Begins a family. `withToken`: it holds a refresh token, which is returned and not kept. */
export async function beginFamily(
  db: Db,
  grant: Pick<NewFamily, 'tenant_id' | 'agent_id' | 'user_id' | 'session_id' | 'scope'> & {
    dpop_jkt?: string | null
  },
  { now, lifetime, withToken }: { now: Date; lifetime: number; withToken: boolean },
): Promise<{ id: string; refreshToken: string | undefined }> {
  const family = {
    id: newId('rtf'),
    dpop_jkt: null,
    id_token_kids: [],
    ...grant,
    created_at: now,
    expires_at: addSeconds(now, lifetime),
  }
  await insertFamily(db, family)
  const refreshToken = withToken ? await addToken(db, family, now) : undefined
  return { id: family.id, refreshToken }
}

/** Spends the current token for a new one. The caller holds the family and has seen that it is live. */
export async function rotate(db: Db, family: Family, spent: Buffer, now: Date): Promise<string> {
  await spendRefreshToken(db, { hash: spent, at: now })
  return addToken(db, family, now)
}

async function addToken(
  db: Db,
  family: Pick<Family, 'id' | 'tenant_id' | 'expires_at'>,
  now: Date,
): Promise<string> {
  const token = newSecret()
  await insertRefreshToken(db, {
    hash: hashSecret(token),
    tenant_id: family.tenant_id,
    family_id: family.id,
    created_at: now,
    expires_at: refreshTokenExpiry(now, family.expires_at),
  })
  return token
}

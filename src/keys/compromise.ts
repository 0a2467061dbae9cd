import { recordEvent } from '../audit/record.ts'
import type { KeyPurpose } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { ProblemError } from '../http/problem.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { CustodyError } from './custody.ts'
import { type Birth, newKey } from './new-key.ts'
import { provenBy } from './proof.ts'
import {
  activateKey,
  compromiseKey,
  findKey,
  insertKeys,
  listSigningKeys,
  lockKeys,
} from './queries.ts'
import type { By } from './rotate.ts'
import {
  type KeySlot,
  planCompromise,
  publishedAt,
  replicaMargin,
  tokenLifetime,
} from './schedule.ts'

export { listUncleared, markCleared } from './queries.ts'

export type CompromisedKey = {
  kid: string
  purpose: KeyPurpose
  alg: SigningAlg
  compromised_at: Date
  /** Since then it signed; null if it never did. */
  activated_at: Date | null
}

/** Until then a consumer may hold a key set with this key. */
export const stillAcceptedUntil = (
  { compromised_at }: Pick<CompromisedKey, 'compromised_at'>,
  times: Pick<Deps['config'], 'jwksCeiling'>,
): Date => addSeconds(compromised_at, replicaMargin(times) + times.jwksCeiling)

/**
 * Drops a key in an emergency (DS-26): from this commit on it signs nothing, it is in no key set and nothing it
 * signed is believed here. If it was the one that signs, the next one takes over, early or not; without a
 * usable one, a new one. A key that was dropped before stays as it is.
 * @throws {ProblemError} `not_found`; `invalid_transition` for a key that nobody accepts any more.
 */
export async function compromise(
  deps: Pick<Deps, 'db' | 'config' | 'now' | 'custody' | 'keys' | 'log'>,
  kid: string,
  { reason, ...by }: By & { reason?: string | undefined },
): Promise<CompromisedKey> {
  const { db, config, now, keys, log } = deps
  const dropped = await db.transaction().execute(async (tx): Promise<CompromisedKey> => {
    await lockKeys(tx)
    const key = await findKey(tx, kid)
    if (!key) throw new ProblemError('not_found', 'There is no signing key with this kid')
    const { purpose, activated_at } = key
    const slot = { purpose, alg: key.alg as SigningAlg }
    if (key.compromised_at)
      return { kid, ...slot, activated_at, compromised_at: key.compromised_at }
    if (key.status === 'removed') {
      throw new ProblemError(
        'invalid_transition',
        'This key was removed: it has left every key set and cache, and nothing signed by it is accepted',
      )
    }

    const at = now()
    const { activating, lacks } = planCompromise(await listSigningKeys(tx), key)
    await compromiseKey(tx, kid, { at, reason })
    const genuine = activating && provenBy(config.keyEncryptionKeys ?? [], activating)
    if (activating && genuine) {
      await activateKey(tx, activating.kid, at, tokenLifetime(config))
    } else if (activating) {
      await compromiseKey(tx, activating.kid, { at, reason: 'not made by this server' })
      lacks.push('active')
    }
    const made = await makeMissing(deps, slot, lacks)
    await insertKeys(tx, made)
    const active =
      made.find(({ status }) => status === 'active')?.kid ?? (genuine ? activating?.kid : undefined)
    const next = made.find(({ status }) => status === 'next')?.kid
    const detail = { kid, was: key.status, active_kid: active, next_kid: next, ...slot }
    await recordEvent(tx, { type: 'key.compromised', at, detail, ...by })
    return { kid, ...slot, activated_at, compromised_at: at }
  })
  log.warn({ kid, purpose: dropped.purpose, alg: dropped.alg }, 'a signing key was dropped')
  await keys.refresh()
  return dropped
}

/** None if they cannot be made now: a bad key is dropped all the same, and the schedule makes up for it. */
async function makeMissing(
  deps: Pick<Deps, 'config' | 'custody' | 'log' | 'now'>,
  slot: KeySlot,
  lacks: ('active' | 'next')[],
) {
  try {
    const keys = await Promise.all(lacks.map(() => newKey(deps, slot)))
    const at = deps.now()
    const born = { created_at: at, published_at: publishedAt(at, deps.config) }
    const birthOf = (status: Birth['status']): Birth =>
      status === 'next' ? { status, ...born } : { status, ...born, activated_at: at }
    return lacks.flatMap((status, index) => {
      const key = keys[index]
      return key ? [{ ...key, ...birthOf(status) }] : []
    })
  } catch (err) {
    if (!(err instanceof CustodyError)) throw err
    deps.log.error({ err, ...slot }, 'no new signing key could be made')
    return []
  }
}

import { setTimeout as pause } from 'node:timers/promises'
import { recordEvent } from '../audit/record.ts'
import type { KeyPurpose } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { ProblemError } from '../http/problem.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { makeMissingKeys } from './ensure-keys.ts'
import { kekId } from './private-key-envelope.ts'
import { kekIn, provenBy } from './proof.ts'
import { activateKey, compromiseKey, findKey, listSigningKeys, lockKeys } from './queries.ts'
import type { By } from './rotate.ts'
import { planCompromise, replicaMargin, tokenLifetime } from './schedule.ts'

export { listUncleared, markCleared } from './queries.ts'
export { replicaMargin } from './schedule.ts'

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
 * signed is believed here. If it was the one that signs, the next one takes over, early or not, whether it can be
 * opened or not; one that nothing here proves to be ours is dropped too, and a new one takes over. A key that was
 * dropped before stays as it is.
 * @throws {ProblemError} `not_found`; `invalid_transition` for a key that nobody accepts any more.
 */
export async function compromise(
  deps: Pick<Deps, 'db' | 'config' | 'now' | 'clockSkew' | 'custody' | 'keys' | 'log'>,
  kid: string,
  { reason, ...by }: By & { reason?: string | undefined },
): Promise<CompromisedKey> {
  const { db, config, now, keys, log } = deps
  const skew = await deps.clockSkew()
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

    // By the database's clock: an emergency does not wait until this one is set.
    const at = addSeconds(now(), skew / 1_000)
    const next = planCompromise(await listSigningKeys(tx), key)
    await compromiseKey(tx, kid, { at, reason })
    const fault = next && faultOf(config.keyEncryptionKeys ?? [], next)
    if (next && fault) await compromiseKey(tx, next.kid, { at, reason: fault })
    else if (next) await activateKey(tx, next.kid, at, tokenLifetime(config))
    const also = next && fault && { also_dropped_kid: next.kid, because: fault }
    const detail = {
      kid,
      was: key.status,
      next_kid: fault ? undefined : next?.kid,
      ...also,
      ...slot,
    }
    if (also) log.error(also, 'the next signing key was dropped too')
    await recordEvent(tx, { type: 'key.compromised', at, detail, ...by })
    return { kid, ...slot, activated_at, compromised_at: at }
  })
  log.warn({ kid, purpose: dropped.purpose, alg: dropped.alg }, 'a signing key was dropped')
  await keys.refresh()
  await Promise.race([makeUpFor(deps), pause(PATIENCE, undefined, { ref: false })])
  return dropped
}

/** Why a key must not take over: whoever may write rows may have written it, under whatever name. */
function faultOf(keks: Buffer[], key: Parameters<typeof provenBy>[1]): string | undefined {
  if (provenBy(keks, key)) return undefined
  const known = keks.some((kek) => kekId(kek) === kekIn(key.proof))
  if (known) return 'not made by this server'
  return 'its proof is under a KEY_ENCRYPTION_KEY that the server which dropped it does not have'
}

/** Milliseconds. Whoever drops a key does not wait long for the making of another one. */
const PATIENCE = 2_000

/** A bad key is dropped also when no other can be made now; the schedule then tries again. */
async function makeUpFor(deps: Parameters<typeof makeMissingKeys>[0] & Pick<Deps, 'keys'>) {
  try {
    await makeMissingKeys(deps)
    await deps.keys.refresh()
  } catch (err) {
    deps.log.error({ err }, 'no new signing key could be made')
  }
}

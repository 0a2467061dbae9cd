import { type Actor, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { ProblemError, unsupported } from '../http/problem.ts'
import type { SigningAlg } from './key-ring.ts'
import { makeKeyPair, newKey } from './new-key.ts'
import { KeyEncryptionError, openPrivateKey } from './private-key-envelope.ts'
import { proveKey, provenBy } from './proof.ts'
import {
  activateKey,
  insertKeys,
  listPublicKeys,
  listSigningKeys,
  lockKeys,
  replaceProof,
  retireKey,
} from './queries.ts'
import { KEY_SLOTS, type KeySlot, planRotation, publishedAt } from './schedule.ts'

export type RotationRequest = { alg?: SigningAlg; purpose?: KeySlot['purpose'] }

type By = { actor: Actor; request_id?: string }

/**
 * In each slot asked for the next key becomes active, the active one is retired, and a new next one is
 * made: in all of them or in none. Proofs are renewed under the newest key encryption key, so that an
 * earlier one is needed no longer than private keys need it.
 * @throws {ProblemError} `too_early` with `ready_at`; `unsupported_value` when no key is meant.
 */
export async function rotateKeys(deps: Deps, which: RotationRequest, by: By): Promise<void> {
  const { db, config, now } = deps
  const slots = KEY_SLOTS.filter(
    ({ alg, purpose }) => alg === (which.alg ?? alg) && purpose === (which.purpose ?? purpose),
  )
  if (slots.length === 0) throw unsupported('/alg', 'is not used for keys of this purpose')

  // Asked once more under the lock; here it only saves making keys in vain.
  planOrRefuse(await listSigningKeys(db), slots, now(), config)
  const keks = config.keyEncryptionKeys ?? []
  const pairs = await Promise.all(slots.map(({ alg }) => makeKeyPair(alg)))

  await db.transaction().execute(async (tx) => {
    await lockKeys(tx)
    const at = now()
    const steps = planOrRefuse(await listSigningKeys(tx), slots, at, config)
    for (const [i, { slot, retiring, activating }] of steps.entries()) {
      // What cannot be opened must not become the key that signs.
      openPrivateKey(keks, activating, activating.private_key ?? '')
      if (!provenBy(keks, activating)) {
        throw new KeyEncryptionError(`Signing key ${activating.kid} is not one this server made`)
      }
      const pair = pairs[i] as (typeof pairs)[number]
      const birth = {
        status: 'next',
        created_at: at,
        published_at: publishedAt(at, config),
      } as const
      const next = newKey(keks, slot, birth, pair)
      await retireKey(tx, retiring.kid, at)
      await activateKey(tx, activating.kid, at)
      await insertKeys(tx, [next])
      const detail = { kid: activating.kid, retired_kid: retiring.kid, next_kid: next.kid, ...slot }
      await recordEvent(tx, { type: 'key.rotated', at, detail, ...by })
    }
    await renewProofs(tx, keks)
  })
  await deps.keys.refresh()
}

async function renewProofs(tx: Db, keks: Buffer[]): Promise<void> {
  for (const key of await listPublicKeys(tx).execute()) {
    const kek = provenBy(keks, key)
    if (kek && kek !== keks[0]) await replaceProof(tx, key.kid, proveKey(keks, key))
  }
}

function planOrRefuse(
  keys: Awaited<ReturnType<typeof listSigningKeys>>,
  slots: readonly KeySlot[],
  now: Date,
  config: Deps['config'],
) {
  const plan = planRotation(keys, slots, now, config)
  if ('steps' in plan) return plan.steps
  throw new ProblemError(
    'too_early',
    'A consumer may still hold a key set without the next key. Try again at ready_at',
    { members: { ready_at: plan.readyAt.toISOString() } },
  )
}

import { type Actor, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { ProblemError, unsupported } from '../http/problem.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { newKey } from './new-key.ts'
import { KeyEncryptionError } from './private-key-envelope.ts'
import { provenBy } from './proof.ts'
import {
  activateKey,
  insertKeys,
  listSigningKeys,
  lockKeys,
  retireKey,
  tryLockKeys,
} from './queries.ts'
import {
  type KeySlot,
  planRotation,
  publishedAt,
  type Rotation,
  slotsDue,
  slotsOf,
  tokenLifetime,
} from './schedule.ts'

export type RotationRequest = { alg?: SigningAlg; purpose?: KeySlot['purpose'] }
export type By = { actor: Actor; request_id?: string }
type Surroundings = Pick<Deps, 'db' | 'config' | 'now' | 'custody' | 'keys'>
type Key = Awaited<ReturnType<typeof listSigningKeys>>[number]

/**
 * In each slot asked for the next key becomes active, the active one is retired, and a new next one is
 * made: in all of them or in none.
 * @throws {ProblemError} `too_early` with `ready_at`; `unsupported_value` when no key is meant.
 */
export async function rotateKeys(
  deps: Surroundings,
  which: RotationRequest,
  by: By,
): Promise<void> {
  const { db, config, now } = deps
  const slots = slotsOf(config.signingAlgs).filter(
    ({ alg, purpose }) => alg === (which.alg ?? alg) && purpose === (which.purpose ?? purpose),
  )
  if (slots.length === 0) throw unsupported('/alg', 'is not used for keys of this purpose')
  await db.transaction().execute(async (tx) => {
    await lockKeys(tx)
    const at = now()
    const plan = planRotation(await listSigningKeys(tx), slots, at, config)
    if ('readyAt' in plan) {
      throw new ProblemError(
        'too_early',
        'A consumer may still hold a key set without the next key. Try again at ready_at',
        { members: { ready_at: plan.readyAt.toISOString() } },
      )
    }
    await takeSteps(deps, tx, plan.steps, by)
  })
  await deps.keys.refresh()
}

/** Rotates the keys that have served their time, unless another replica is at it. Returns how many. */
export async function rotateDue(deps: Surroundings): Promise<number> {
  const rotated = await deps.db.transaction().execute(async (tx) => {
    if (!(await tryLockKeys(tx))) return 0
    const at = deps.now()
    const keys = await listSigningKeys(tx)
    const plan = planRotation(keys, slotsDue(keys, at, deps.config), at, deps.config)
    if ('readyAt' in plan) return 0
    await takeSteps(deps, tx, plan.steps, { actor: { kind: 'system' } })
    return plan.steps.length
  })
  if (rotated > 0) await deps.keys.refresh()
  return rotated
}

async function takeSteps(
  deps: Surroundings,
  tx: Db,
  steps: Rotation<Key>[],
  by: By,
): Promise<void> {
  const made: { step: Rotation<Key>; next: Awaited<ReturnType<typeof newKey>> }[] = []
  for (const step of steps) {
    await requireUsable(deps, step.activating)
    made.push({ step, next: await newKey(deps, step.slot) })
  }
  const at = deps.now()
  for (const { step, next } of made) {
    const { slot, retiring, activating } = step
    const lifetime = Math.max(tokenLifetime(deps.config), retiring.token_lifetime ?? 0)
    await retireKey(tx, retiring.kid, at)
    await activateKey(tx, activating.kid, at, lifetime)
    const detail = { kid: activating.kid, retired_kid: retiring.kid, next_kid: next.kid, ...slot }
    await recordEvent(tx, { type: 'key.rotated', at, detail, ...by })
  }
  // Last of all: nobody sees a key before the commit, and making keys takes long, or a replica freezes meanwhile.
  const created_at = deps.now()
  const published_at = publishedAt(created_at, deps.config)
  const rows = made.map(
    ({ next }) => ({ ...next, status: 'next', created_at, published_at }) as const,
  )
  await insertKeys(tx, rows)
}

/**
 * What cannot be opened, or is not ours, must not become the key that signs.
 * @throws {KeyEncryptionError|CustodyError}
 */
export async function requireUsable(
  { config, custody }: Pick<Deps, 'config' | 'custody'>,
  { private_key, ...key }: Key,
): Promise<void> {
  if (!provenBy(config.keyEncryptionKeys ?? [], key)) {
    throw new KeyEncryptionError(`Signing key ${key.kid} is not one this server made`)
  }
  await custody.open({ ...key, alg: key.alg as SigningAlg, reference: private_key ?? '' })
}

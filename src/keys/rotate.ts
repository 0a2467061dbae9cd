import { type Actor, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { ProblemError, unsupported } from '../http/problem.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { bearKeys, confirmBirth, type NewKey, withNewKeys } from './new-key.ts'
import { KeyEncryptionError } from './private-key-envelope.ts'
import { provenBy } from './proof.ts'
import {
  activateKey,
  listSigningKeys,
  lockKeys,
  lockMaking,
  retireKey,
  tryLockMaking,
} from './queries.ts'
import { renewProofs } from './renew-proofs.ts'
import {
  isOf,
  type KeySlot,
  planRotation,
  type Rotation,
  slotsDue,
  slotsOf,
  tokenLifetime,
} from './schedule.ts'

export type RotationRequest = { alg?: SigningAlg; purpose?: KeySlot['purpose'] }
export type By = { actor: Actor; request_id?: string }
type Surroundings = Pick<Deps, 'db' | 'config' | 'now' | 'clockSkew' | 'custody' | 'keys' | 'log'>
type Key = Awaited<ReturnType<typeof listSigningKeys>>[number]

/**
 * In each slot asked for the next key becomes active, the active one is retired, and a new next one is
 * made: in all of them or in none.
 * @throws {ProblemError} `too_early` with `ready_at`; `unsupported_value` when no key is meant; `unavailable` by
 *   a wrong clock, by which a key might sign before it is known, and another be gone while it is needed.
 */
export async function rotateKeys(
  deps: Surroundings,
  which: RotationRequest,
  by: By,
): Promise<void> {
  const slots = slotsOf(deps.config.signingAlgs).filter(
    ({ alg, purpose }) => alg === (which.alg ?? alg) && purpose === (which.purpose ?? purpose),
  )
  if (slots.length === 0) throw unsupported('/alg', 'is not used for keys of this purpose')
  if ((await deps.clockSkew()) !== 0) {
    throw new ProblemError(
      'unavailable',
      'The clock of this server is not that of the database, and keys are moved by no other. Set it, or ask another server',
    )
  }
  const plan = (keys: readonly Key[]) => {
    const planned = planRotation(keys, slots, deps.now(), deps.config)
    if ('steps' in planned) return planned.steps
    throw new ProblemError(
      'too_early',
      'A consumer may still hold a key set without the next key. Try again at ready_at',
      { members: { ready_at: planned.readyAt.toISOString() } },
    )
  }
  await rotate(deps, plan, by)
}

/** Rotates the key of a slot if it has served its time, unless another replica is at it. Returns how many. */
export function rotateDue(deps: Surroundings, slot: KeySlot): Promise<number> {
  const plan = (keys: readonly Key[]) => {
    const now = deps.now()
    const due = slotsDue(keys, now, deps.config).filter((one) => isOf(one, slot))
    const planned = planRotation(keys, due, now, deps.config)
    return 'steps' in planned ? planned.steps : []
  }
  return rotate(deps, plan, { actor: { kind: 'system' } }, tryLockMaking)
}

/** Plans, makes the keys, and, with everybody else held off for a moment, plans again and writes. */
async function rotate(
  deps: Surroundings,
  plan: (keys: readonly Key[]) => Rotation<Key>[],
  by: By,
  take: (tx: Db) => Promise<boolean> = lockMaking,
): Promise<number> {
  const born = await deps.db.transaction().execute(async (tx) => {
    if (!(await take(tx))) return []
    const planned = plan(await listSigningKeys(tx))
    for (const { activating } of planned) await requireUsable(deps, activating)
    return withNewKeys(
      deps,
      planned.map(({ slot }) => slot),
      async (made) => {
        await lockKeys(tx)
        const steps = plan(await listSigningKeys(tx))
        return takeSteps(deps, tx, planned, steps, made, by)
      },
    )
  })
  await confirmBirth(deps, born)
  if (born.length > 0) await deps.keys.refresh()
  return born.length
}

/** Of what was planned, what is still to be done. Returns the keys that came to be next. */
async function takeSteps(
  deps: Surroundings,
  tx: Db,
  planned: Rotation<Key>[],
  steps: Rotation<Key>[],
  made: NewKey[],
  by: By,
): Promise<NewKey[]> {
  const at = deps.now()
  const used: NewKey[] = []
  for (const [index, { slot, retiring, activating }] of planned.entries()) {
    const next = made[index]
    const holds = steps.some(
      (step) => step.retiring.kid === retiring.kid && step.activating.kid === activating.kid,
    )
    if (!next || !holds) continue
    await retireKey(tx, retiring.kid, at)
    await activateKey(tx, activating.kid, at, tokenLifetime(deps.config))
    const detail = { kid: activating.kid, retired_kid: retiring.kid, next_kid: next.kid, ...slot }
    await recordEvent(tx, { type: 'key.rotated', at, detail, ...by })
    used.push(next)
  }
  await renewProofs(tx, deps.config.keyEncryptionKeys ?? [])
  await bearKeys(
    tx,
    deps,
    used.map((key) => ({ ...key, status: 'next' })),
  )
  return used
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

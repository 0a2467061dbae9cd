/**
 * The life of a signing key. Times decide; nothing here reads a clock or the database.
 *
 *   (made) ──▶ next ──rotation──▶ active ──rotation──▶ retired ──its tokens and caches over──▶ removed
 *              published,         signs                published,                              private
 *              signs nothing                           signs nothing                           part gone
 *
 * 1. Each purpose and algorithm has exactly one active and one next key; a rotation moves both and
 *    makes a new next key.
 * 2. No key signs before it has been published for as long as a consumer may cache the JWKS (DS-21).
 *    The first active keys are the exception: before them there was nothing to cache.
 * 3. A retired key stays published until every token it signed is over, and every cached copy (DS-22).
 * 4. A replica learns of a rotation by asking at intervals, so both waits begin a margin later.
 *
 * Sealing keys are not in the JWKS; their public half verifies old seals for ever.
 */

import type { KeyPurpose, Row } from '../db/tables.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import type { SigningAlg } from './key-ring.ts'

export type KeySlot = { purpose: KeyPurpose; alg: SigningAlg }

/** Every purpose and algorithm that has keys. */
export const KEY_SLOTS: readonly KeySlot[] = [
  { purpose: 'id_token', alg: 'ES256' },
  { purpose: 'id_token', alg: 'RS256' },
  { purpose: 'id_jag', alg: 'ES256' },
  { purpose: 'id_jag', alg: 'RS256' },
  { purpose: 'seal', alg: 'ES256' },
]

export type KeyLife = Pick<
  Row<'signing_keys'>,
  'kid' | 'purpose' | 'alg' | 'status' | 'published_at' | 'retired_at'
>

type Lifetimes = { jwksCeiling: number; idTokenLifetime: number; idJagLifetime: number }

/** What else these keys sign, access tokens among it, is over by then. */
const LEAST_TOKEN_LIFE = 600

/** Seconds between two looks at the database. */
export const refreshInterval = ({ jwksCeiling }: Pick<Lifetimes, 'jwksCeiling'>): number =>
  Math.min(5, jwksCeiling / 20)

/** Seconds after which every replica acts on a rotation: it asks twice meanwhile, or stops signing. */
export const replicaMargin = (times: Pick<Lifetimes, 'jwksCeiling'>): number =>
  2 * refreshInterval(times)

/** When a key made now counts as published: from then on every replica serves it. */
export const publishedAt = (now: Date, times: Pick<Lifetimes, 'jwksCeiling'>): Date =>
  addSeconds(now, replicaMargin(times))

/** From then on a next key may sign. */
export const readyAt = (
  { published_at }: Pick<KeyLife, 'published_at'>,
  { jwksCeiling }: Pick<Lifetimes, 'jwksCeiling'>,
): Date => addSeconds(published_at, jwksCeiling)

/** From then on nobody can need a retired key any more. */
export function removableAt(retiredAt: Date, times: Lifetimes): Date {
  const tokenLife = Math.max(times.idTokenLifetime, times.idJagLifetime, LEAST_TOKEN_LIFE)
  return addSeconds(retiredAt, replicaMargin(times) + tokenLife + times.jwksCeiling)
}

export const isRemovable = (
  { status, retired_at }: Pick<KeyLife, 'status' | 'retired_at'>,
  now: Date,
  times: Lifetimes,
): boolean => status === 'retired' && retired_at !== null && now >= removableAt(retired_at, times)

/** True while a signature by this key may be accepted. */
export function isVerifiable(key: KeyLife, now: Date, times: Lifetimes): boolean {
  if (key.status === 'compromised') return false
  if (key.purpose === 'seal') return true
  return key.status !== 'removed' && !isRemovable(key, now, times)
}

/** True for what belongs into the JWKS. */
export const isPublished = (key: KeyLife, now: Date, times: Lifetimes): boolean =>
  key.purpose !== 'seal' && isVerifiable(key, now, times)

export type Rotation<Key extends KeyLife> = { slot: KeySlot; retiring: Key; activating: Key }

/**
 * What a rotation of these slots would do, all or nothing: the steps, or the time from which every one
 * of them is possible.
 */
export function planRotation<Key extends KeyLife>(
  keys: readonly Key[],
  slots: readonly KeySlot[],
  now: Date,
  times: Lifetimes,
): { steps: Rotation<Key>[] } | { readyAt: Date } {
  const steps = slots.map((slot) => {
    const of = (status: KeyLife['status']) =>
      keys.find(
        (key) => key.status === status && key.purpose === slot.purpose && key.alg === slot.alg,
      )
    const [retiring, activating] = [of('active'), of('next')]
    if (!retiring || !activating) throw new Error(`${slot.purpose} ${slot.alg} lacks a key`)
    return { slot, retiring, activating }
  })
  const ready = Math.max(...steps.map(({ activating }) => readyAt(activating, times).getTime()))
  return now.getTime() < ready ? { readyAt: new Date(ready) } : { steps }
}

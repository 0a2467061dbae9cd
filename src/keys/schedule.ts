/**
 * The life of a signing key. Times decide; nothing here reads a clock or the database.
 *
 *   (made) ──▶ next ──rotation──▶ active ──rotation──▶ retired ─────────▶ removed
 *              published,         signs                published,         out of the JWKS once all that it
 *              signs nothing                           signs nothing,     signed, and every cached copy,
 *                                                      private part gone  is over
 *
 *   any of them ──compromise──▶ compromised: out of the JWKS at once, and trusted by nobody here
 *
 * 1. Each purpose and algorithm has exactly one active and one next key; a rotation moves both and
 *    makes a new next key.
 * 2. No key signs before it has been published for as long as a consumer may cache the JWKS (DS-21). Two
 *    exceptions: the first active keys, before which there was nothing to cache, and the key that takes
 *    over from a compromised one.
 * 3. A retired key stays published until every token it signed is over, every event that waits to be
 *    delivered too, and every cached copy (DS-22).
 * 4. A replica learns of a change by asking at intervals, so the waits begin a margin later.
 *
 * Sealing keys are not in the JWKS; their public half verifies old seals for ever.
 */

import type { KeyPurpose, Row } from '../db/tables.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { SIGNING_ALGS, type SigningAlg } from '../oauth/signing-alg.ts'

export type KeySlot = { purpose: KeyPurpose; alg: SigningAlg }

/**
 * Every purpose and algorithm that has keys. Revocation events go with the ID-JAGs that they end. Keys of an
 * algorithm that is no longer wanted stay as they are, signing nothing, until they are dropped by hand.
 */
export const slotsOf = (algs: readonly SigningAlg[]): readonly KeySlot[] => [
  ...algs.map((alg) => ({ purpose: 'id_token', alg }) as const),
  ...algs.map((alg) => ({ purpose: 'id_jag', alg }) as const),
  { purpose: 'seal', alg: 'ES256' },
]

/** With every algorithm. */
export const KEY_SLOTS = slotsOf(SIGNING_ALGS)

export type KeyLife = Pick<
  Row<'signing_keys'>,
  | 'kid'
  | 'purpose'
  | 'alg'
  | 'status'
  | 'published_at'
  | 'activated_at'
  | 'retired_at'
  | 'token_lifetime'
>

export type Lifetimes = {
  jwksCeiling: number
  keyRotationInterval: number
  signingAlgs: readonly SigningAlg[]
  idTokenLifetime: number
  idJagLifetime: number
}

/** When the last event that a key signed was delivered or given up; `queued` while one still waits. */
export type EventsEnd = Date | 'queued' | undefined

/** What else these keys sign, access tokens among it, is over by then. */
const LEAST_TOKEN_LIFE = 600
/** What an ID token may live at the most, whatever is set. */
const MOST_TOKEN_LIFE = 86_400

/** Seconds between two looks at the database. */
export const refreshInterval = ({ jwksCeiling }: Pick<Lifetimes, 'jwksCeiling'>): number =>
  Math.min(0.5, jwksCeiling / 40)

/** Seconds after which every replica acts on a change: it has asked meanwhile, or signs and vouches for nothing. */
export const replicaMargin = ({ jwksCeiling }: Pick<Lifetimes, 'jwksCeiling'>): number =>
  Math.min(10, jwksCeiling / 10)

/** When a key made now counts as published: from then on every replica serves it. */
export const publishedAt = (now: Date, times: Pick<Lifetimes, 'jwksCeiling'>): Date =>
  addSeconds(now, replicaMargin(times))

/** From then on a next key may sign. */
export const readyAt = (
  { published_at }: Pick<KeyLife, 'published_at'>,
  { jwksCeiling }: Pick<Lifetimes, 'jwksCeiling'>,
): Date => addSeconds(published_at, jwksCeiling)

/** From then on the next key should sign: the active one has served its time, and the next one may. */
export function dueAt(
  active: Pick<KeyLife, 'activated_at'>,
  next: Pick<KeyLife, 'published_at'>,
  times: Pick<Lifetimes, 'jwksCeiling' | 'keyRotationInterval'>,
): Date {
  const served = addSeconds(active.activated_at ?? next.published_at, times.keyRotationInterval)
  return later(served, readyAt(next, times))
}

/** The longest that what a key signs now may live. */
export const tokenLifetime = (times: Pick<Lifetimes, 'idTokenLifetime' | 'idJagLifetime'>) =>
  Math.max(times.idTokenLifetime, times.idJagLifetime, LEAST_TOKEN_LIFE)

/** From then on no replica signs with a retired key, and its private part is of no use but to a thief. */
export const destroyableAt = (retiredAt: Date, times: Pick<Lifetimes, 'jwksCeiling'>): Date =>
  addSeconds(retiredAt, replicaMargin(times))

/** From then on nobody can need a retired key any more; undefined while an event of its still waits. */
export function removableAt(
  { retired_at, token_lifetime }: Pick<KeyLife, 'retired_at' | 'token_lifetime'>,
  times: Pick<Lifetimes, 'jwksCeiling'>,
  events: EventsEnd,
): Date | undefined {
  if (retired_at === null || events === 'queued') return undefined
  const lastSigned = addSeconds(retired_at, replicaMargin(times))
  const tokensEnd = addSeconds(lastSigned, token_lifetime ?? MOST_TOKEN_LIFE)
  return addSeconds(later(tokensEnd, events ?? tokensEnd), times.jwksCeiling)
}

/** True while a signature by this key may be accepted. */
export const isVerifiable = ({ purpose, status }: Pick<KeyLife, 'purpose' | 'status'>): boolean =>
  status !== 'compromised' && (status !== 'removed' || purpose === 'seal')

/** True for what belongs into the JWKS. */
export const isPublished = (key: Pick<KeyLife, 'purpose' | 'status'>): boolean =>
  key.purpose !== 'seal' && isVerifiable(key)

/**
 * True while a consumer may hold a key set without a key that signs: it is the first of its slot, or took over
 * before anybody could know it.
 */
export const isStrange = (
  key: Pick<KeyLife, 'published_at' | 'activated_at'>,
  now: Date,
  times: Pick<Lifetimes, 'jwksCeiling'>,
): boolean =>
  key.activated_at !== null && key.activated_at <= key.published_at && now < readyAt(key, times)

export const isOf = (key: { purpose: string; alg: string }, slot: KeySlot): boolean =>
  key.purpose === slot.purpose && key.alg === slot.alg

export type Rotation<Key extends KeyLife> = { slot: KeySlot; retiring: Key; activating: Key }

/**
 * What a rotation of these slots would do, all or nothing: the steps, or the time from which every one
 * of them is possible.
 */
export function planRotation<Key extends KeyLife>(
  keys: readonly Key[],
  slots: readonly KeySlot[],
  now: Date,
  times: Pick<Lifetimes, 'jwksCeiling'>,
): { steps: Rotation<Key>[] } | { readyAt: Date } {
  const steps: Rotation<Key>[] = []
  let ready = now
  for (const slot of slots) {
    const { active, next } = holdersOf(keys, slot)
    if (active && next) steps.push({ slot, retiring: active, activating: next })
    // One was dropped a moment ago, or none could be made since: not before one that is made now may sign.
    const published_at = active && next ? next.published_at : publishedAt(now, times)
    ready = later(ready, readyAt({ published_at }, times))
  }
  return now < ready ? { readyAt: ready } : { steps }
}

/** The slots whose key has served its time. */
export function slotsDue(
  keys: readonly KeyLife[],
  now: Date,
  times: Pick<Lifetimes, 'jwksCeiling' | 'keyRotationInterval' | 'signingAlgs'>,
): KeySlot[] {
  return slotsOf(times.signingAlgs).filter((slot) => {
    const { active, next } = holdersOf(keys, slot)
    return active !== undefined && next !== undefined && now >= dueAt(active, next, times)
  })
}

/**
 * Who takes over from a key that is dropped, early or not; undefined if it did not sign, or if nobody is there.
 * What the slot then lacks is made anew.
 */
export function planCompromise<Key extends KeyLife>(
  keys: readonly Key[],
  { kid, purpose, alg }: Pick<KeyLife, 'kid' | 'purpose' | 'alg'>,
): Key | undefined {
  const { active, next } = holdersOf(keys, { purpose, alg: alg as SigningAlg })
  return active?.kid === kid ? next : undefined
}

export type Step = { does: 'activate' | 'retire' | 'remove'; at: Date }

/**
 * What is to become of a key, and when; undefined if nothing is, or if that rests with an event. One that signs
 * and has none to follow it is to be retired all the same, and shows as overdue when that is not mended.
 */
export function nextStep(
  key: KeyLife,
  keys: readonly KeyLife[],
  times: Lifetimes,
  events: EventsEnd,
): Step | undefined {
  if (key.status === 'retired') {
    const at = removableAt(key, times, events)
    return at && { does: 'remove', at }
  }
  const slot = slotsOf(times.signingAlgs).find((one) => isOf(key, one))
  if (!slot) return undefined
  const { active, next } = holdersOf(keys, slot)
  if (!active) return undefined
  const since = active.activated_at ?? active.published_at
  const at = next ? dueAt(active, next, times) : addSeconds(since, times.keyRotationInterval)
  if (key.kid === active.kid) return { does: 'retire', at }
  return key.kid === next?.kid ? { does: 'activate', at } : undefined
}

function holdersOf<Key extends KeyLife>(keys: readonly Key[], slot: KeySlot) {
  const of = (status: KeyLife['status']) =>
    keys.find((key) => key.status === status && isOf(key, slot))
  return { active: of('active'), next: of('next') }
}

const later = (one: Date, other: Date): Date => (one > other ? one : other)

import { createHmac, hkdfSync } from 'node:crypto'
import { sameDigest } from './secret.ts'

// Nonces for DPoP proofs (RFC 9449 §8) that need no memory: the MAC of a stretch of time, under a key that
// all replicas derive from the same secret. Everyone gets the same one, for it is no secret: it shows that
// a proof was not made long beforehand.

/** Seconds that one nonce is issued; it is good until the next one has had its turn as well. */
const WINDOW = 150
/** Seconds, at the most (DP-06). */
export const NONCE_LIFETIME = 2 * WINDOW
/** Seconds that another replica's clock may be ahead: what it issued already is taken here too. */
const AHEAD = 60

export type DpopNonceKeys = readonly Buffer[]

/** Of the key encryption keys, newest first: it issues, all accept. To be derived once. */
export const dpopNonceKeys = (keks: readonly Buffer[]): DpopNonceKeys =>
  keks.map((kek) => Buffer.from(hkdfSync('sha256', kek, '', 'agent-idp dpop nonce', 32)))

/** @throws {TypeError} without any key */
export function currentNonce([newest]: DpopNonceKeys, now: Date): string {
  if (newest === undefined) throw new TypeError('No key to make a DPoP nonce with')
  return nonceOf(newest, windowAt(now, 0)).toString('base64url')
}

/** True for the current nonce and the one before it, under any of the keys. */
export function isGoodNonce(keys: DpopNonceKeys, nonce: string, now: Date): boolean {
  const given = Buffer.from(nonce, 'base64url')
  if (given.toString('base64url') !== nonce) return false
  const windows = new Set([0, -WINDOW, AHEAD].map((seconds) => windowAt(now, seconds)))
  return keys.some((key) => [...windows].some((window) => sameDigest(nonceOf(key, window), given)))
}

const windowAt = (now: Date, seconds: number): number =>
  Math.floor((now.getTime() / 1000 + seconds) / WINDOW)

const nonceOf = (key: Buffer, window: number): Buffer =>
  createHmac('sha256', key).update(String(window)).digest()

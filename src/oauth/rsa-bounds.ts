import type { KeyObject } from 'node:crypto'

/** Moduli in bits: below it is weak, above it verification takes too long. */
const BITS = { least: 2048, most: 8192 }
/** Verification takes the longer the larger it is; everyone uses 65537. */
const EXPONENT = { least: 3n, most: 2n ** 32n }

/** What is wrong with an RSA key that somebody else made, and in which member; of other kinds nothing is. */
export function faultOfRsa(
  { asymmetricKeyDetails: { modulusLength: bits, publicExponent: e } = {} }: KeyObject,
  most = BITS.most,
): { member: 'n' | 'e'; fault: string } | undefined {
  if (bits !== undefined && (bits < BITS.least || bits > most)) {
    return { member: 'n', fault: `must have ${BITS.least} to ${most} bits` }
  }
  if (e !== undefined && (e < EXPONENT.least || e > EXPONENT.most || e % 2n === 0n)) {
    return { member: 'e', fault: `must be odd, at least ${EXPONENT.least} and at most 2^32` }
  }
  return undefined
}

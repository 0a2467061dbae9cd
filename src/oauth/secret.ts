import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/** 256 random bits, base64url: what a caller may hold as a secret. */
export const newSecret = (): string => randomBytes(32).toString('base64url')

/**
 * What is kept of a secret. The secrets hashed here are random and long, so a plain SHA-256 stands;
 * what a person chose goes through argon2id instead (SE-07).
 */
export const hashSecret = (secret: string): Buffer =>
  createHash('sha256').update(secret, 'utf8').digest()

/** Constant-time comparison of two digests of one length. */
export const sameDigest = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && timingSafeEqual(a, b)

/** Constant-time comparison of two texts, whatever their lengths. */
export const sameText = (a: string, b: string): boolean => sameDigest(hashSecret(a), hashSecret(b))

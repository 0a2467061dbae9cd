import { createHash } from 'node:crypto'
import { sameText } from './secret.ts'

/** 43 to 128 unreserved characters (RFC 7636 §4.1, §4.2). */
const CODE = /^[A-Za-z0-9._~-]{43,128}$/

export const isCodeChallenge = (value: string): boolean => CODE.test(value)

/** True when the verifier is well formed and hashes to the S256 challenge (RFC 7636 §4.6). */
export function matchesChallenge(verifier: string, challenge: string): boolean {
  if (!CODE.test(verifier)) return false
  return sameText(createHash('sha256').update(verifier, 'ascii').digest('base64url'), challenge)
}

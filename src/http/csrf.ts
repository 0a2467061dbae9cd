import { createHmac } from 'node:crypto'
import { sameText } from '../oauth/secret.ts'

/**
 * The anti-forgery token of a form: an HMAC under the random value in the browser's own cookie, so it
 * fits that session and no other, ends with it, and needs no memory of ours (SE-04).
 */
export const csrfToken = (cookie: string): string =>
  createHmac('sha256', cookie).update('csrf').digest('base64url')

/** Constant-time; false when the browser sent no cookie or the form no token. */
export function csrfMatches(cookie: string | undefined, token: unknown): boolean {
  return cookie !== undefined && typeof token === 'string' && sameText(csrfToken(cookie), token)
}

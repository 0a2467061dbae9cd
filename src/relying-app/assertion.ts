import { decodeJws } from '../oauth/jws.ts'
import { isUnambiguous } from './unambiguous.ts'

export type Header = Record<string, unknown> & { alg: string }
export type Claims = Record<string, unknown>

/** An ID-JAG that was read and not yet believed; an event is read alike. */
export type Assertion = { text: string; header: Header; claims: Claims }

/** What every ID-JAG says that was believed. */
export type IdJag = Claims & {
  iss: string
  sub: string
  aud: string | [string]
  jti: string
  iat: number
  exp: number
}

/** Undefined unless there is exactly one way to read it (RFC 8725 §2.4, §3.2). */
export function readAssertion(text: string): Assertion | undefined {
  const jws = decodeJws(text)
  if (!jws) return undefined
  const parts = jws.signingInput.split('.').map((part) => Buffer.from(part, 'base64url'))
  if (!parts.every((part) => isUnambiguous(part.toString('utf8')))) return undefined
  return { text, header: jws.header, claims: jws.payload }
}

/** IJ-53: the whole string, and the only one. A prefix, or the host alone, is somebody else. */
export function isFor(self: string, { aud }: Claims): boolean {
  return Array.isArray(aud) ? aud.length === 1 && aud[0] === self : aud === self
}

export const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

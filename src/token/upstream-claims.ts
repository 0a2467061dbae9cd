/** What the claims of an ID token of a trusted issuer say, once its signature was found to be the issuer's. */
import Value from 'typebox/value'
import type { Reason } from '../audit/reason.ts'
import type { DecodedJws } from '../oauth/jws.ts'
import { TYP } from '../oauth/names.ts'
import { fromNumericDate, numericDate } from '../oauth/numeric-date.ts'
import type { Registration } from '../rules/trusted-issuer-queries.ts'
import { type ClaimMapping, STANDARD_CLAIMS } from '../rules/trusted-issuer-schema.ts'
import { NewUser } from '../users/schema.ts'

type Claims = DecodedJws['payload']

/** Seconds that the issuer's clock may be ahead or behind (TX-21). */
const SKEW = 60

/** The `typ` rule of TX-23. */
export const isIdTokenType = ({ header }: DecodedJws): boolean =>
  header.typ === undefined || header.typ === TYP.idToken

/** Claims of logout tokens, security events and access tokens, which many an issuer signs without a `typ` of their own. */
const OF_OTHER_TOKENS = ['events', 'scope', 'scp']

export function faultOfClaims(
  claims: Claims,
  { issuer, clients }: Pick<Registration, 'issuer' | 'clients'>,
  agentId: string,
  now: Date,
): Reason | undefined {
  const { iss, aud, azp, exp, iat, nbf } = claims
  const at = numericDate(now)
  if (iss !== issuer || OF_OTHER_TOKENS.some((name) => Object.hasOwn(claims, name))) {
    return 'bad_subject_token'
  }
  if (!isNumber(exp) || !isNumber(iat) || iat > at + SKEW) return 'bad_subject_token'
  if (nbf !== undefined && (!isNumber(nbf) || nbf > at + SKEW)) return 'bad_subject_token'
  if (exp <= at - SKEW) return 'subject_token_expired'
  const client = clientOf(aud, azp)
  const allowed = clients.some(
    ({ client_id, agent_ids }) => client_id === client && agent_ids.includes(agentId),
  )
  return allowed ? undefined : 'upstream_client_not_allowed'
}

/** Whom the token was made for: its one audience, or among several the one that `azp` names. */
function clientOf(aud: unknown, azp: unknown): unknown {
  if (!Array.isArray(aud)) return aud
  if (aud.length === 1 && azp === undefined) return aud[0]
  return aud.includes(azp) ? azp : undefined
}

/** How and when the user signed in there, where that is believed. A time to come is none. */
export function authenticationOf(
  { auth_time, acr, amr }: Claims,
  { trust_auth_time }: Pick<Registration, 'trust_auth_time'>,
  now: Date,
): { auth_time: Date | null; acr: string | null; amr: string[] } {
  if (!trust_auth_time) return { auth_time: null, acr: null, amr: [] }
  const sane = isNumber(auth_time) && auth_time > 0 && auth_time <= numericDate(now) + SKEW
  return {
    auth_time: sane ? fromNumericDate(Math.min(Math.floor(auth_time), numericDate(now))) : null,
    acr: isWord(acr) ? acr : null,
    amr: Array.isArray(amr) && amr.length <= MOST_METHODS && amr.every(isWord) ? amr : [],
  }
}

const MOST_METHODS = 10
const isWord = (value: unknown): value is string =>
  typeof value === 'string' && /^[\x21-\x7e]{1,200}$/.test(value)
// JSON has numbers that are read as infinite.
const isNumber = (value: unknown): value is number => Number.isFinite(value)

/** What a new user is made of. What is not as an administrator would have to write it is left out. */
export type UpstreamProfile = {
  external_id: string | undefined
  name: string | undefined
  /** Addresses that the issuer verified, where it is believed in that; there are no others. */
  email: string | undefined
  phone_number: string | undefined
}

export function profileOf(
  claims: Claims,
  { claim_mapping, trust_contacts }: Pick<Registration, 'claim_mapping' | 'trust_contacts'>,
): UpstreamProfile {
  const names: ClaimMapping = { ...STANDARD_CLAIMS, ...claim_mapping }
  const claim = (of: keyof ClaimMapping) =>
    Object.hasOwn(claims, names[of]) ? claims[names[of]] : undefined
  const given = (of: 'external_id' | 'name' | 'email' | 'phone_number') => {
    const value = claim(of)
    return Value.Check(NewUser.properties[of], value) ? value : undefined
  }
  const verified = (of: 'email' | 'phone_number') =>
    trust_contacts && claim(`${of}_verified`) === true ? given(of) : undefined
  return {
    external_id: given('external_id'),
    name: given('name'),
    email: verified('email'),
    phone_number: verified('phone_number'),
  }
}

import { TOKEN_TYPE, TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import {
  type Assertion,
  type Claims,
  type Header,
  type IdJag,
  isFor,
  isText,
  readAssertion,
} from './assertion.ts'
import { isClientDocumentUrl, isProviderDocument } from './provider-document.ts'
import { REVOKED, type Refusal, refuse } from './refusal.ts'
import type { ReplayStore } from './replay-store.ts'
import { isRevoked, type RevocationStore } from './revocation-store.ts'
import { isAhead, isDate, isOver, LONGEST_LIFE, SKEW } from './times.ts'
import { findIssuer, findSigner, type TrustedIssuer } from './trusted-issuer.ts'

/** Of an auth.md service (v0.5 to v0.7) that takes an identity assertion. No client authenticates. */
export type IdentityEndpointContext = {
  profile: 'authmd'
  /** The issuer of its authorization server. */
  self: string
  issuers: readonly TrustedIssuer[]
  replay: ReplayStore
  /** The one that `receiveEvent` writes: an ID-JAG of before an event gives nothing back. */
  revocations?: RevocationStore
  now: () => Date
  /** `assertion_type` of the body. */
  assertionType: unknown
  /** Seconds since the user's sign-in, at the most; 3600 unless set. */
  maxAge?: number
  /**
   * The document that a `client_id` points at, undefined when there is none; without this it is not asked
   * for (step 11). A trusted issuer names the URL, but fetch it as one that a stranger gave: no
   * redirects, a few KiB, no address inside your network. Throws `IssuerUnavailable` for a 503.
   */
  fetchClientDocument?: (url: string) => Promise<unknown>
  accounts: Accounts
}

export type Accounts = {
  /** The account that this user of this issuer was linked to (step 12). */
  findLinked(of: { iss: string; sub: string }): Promise<string | undefined>
  /** The account that has this contact already, so that its owner has to agree first (step 13). */
  findByContact(contact: Contact): Promise<string | undefined>
  /** Begins the claim: members of the answer, such as `claim`. */
  startClaim(account: string, idJag: IdJag): Promise<Record<string, unknown>>
}

/** Verified by the issuer; the e-mail address in lower case. One at least. */
export type Contact = { email?: string; phone_number?: string }

export type Recognised = {
  ok: true
  header: Header
  claims: IdJag
  contact: Contact
  /** The account that is linked; undefined: make one (step 14). */
  account: string | undefined
}

/** The steps of the auth.md reference service, in its order (IJ-73). */
export async function verifyAtIdentityEndpoint(
  assertion: unknown,
  context: IdentityEndpointContext,
): Promise<Recognised | Refusal> {
  const now = numericDate(context.now())
  if (context.assertionType !== TOKEN_TYPE.idJag || !isText(assertion)) {
    return answer('invalid_request', 'Send an ID-JAG as assertion and its URN as assertion_type') // 1
  }
  const read = readAssertion(assertion)
  const issuer = read && findIssuer(context.issuers, read)
  if (!issuer) return answer('invalid_issuer', 'The provider is not trusted here') // 2
  if (read.header.typ !== TYP.idJag) {
    return answer('invalid_request', 'The assertion is not typed as an ID-JAG') // 3
  }
  const signer = await findSigner(read, issuer, now)
  if (!signer) return answer('invalid_signature', 'The assertion is not signed by its issuer') // 4

  const refusal = judgeClaims(read.claims, context, now) // 5 to 8
  if (refusal) return refusal
  const claims = read.claims as IdJag
  const lateness = await judgeLateness(claims, context, now)
  if (lateness) return lateness
  if (!(await context.replay.firstUse(claims, { until: claims.exp + SKEW, now }))) {
    return answer('replay_detected', 'The assertion was presented before') // 9
  }
  const contact = verifiedContact(claims)
  if (!contact) return answer('missing_verified_email', 'There is no verified contact') // 10
  if (!(await isProvider(claims, signer.jwksUri, context))) {
    return answer('invalid_client_id', 'client_id is not a document of the provider') // 11
  }
  return recognise(read, contact, context)
}

function judgeClaims(
  claims: Claims,
  { self, maxAge = 3600 }: IdentityEndpointContext,
  now: number,
): Refusal | undefined {
  const { exp, iat, nbf = iat, jti, sub, auth_time } = claims
  if (!isFor(self, claims))
    return answer('invalid_audience', 'The assertion is for another service')
  if (!isDate(exp) || isOver(exp, now)) return answer('expired', 'The assertion has expired')
  for (const date of [iat, nbf]) {
    // The guide has this check, the reference code does not; among the times is where it belongs.
    if (!isDate(date) || isAhead(date, now)) {
      return answer('invalid_request', 'The assertion is from the future')
    }
  }
  if (!isText(jti) || !isText(sub)) {
    return answer('invalid_request', 'The assertion lacks jti or sub')
  }
  if (!isDate(auth_time) || auth_time + maxAge + SKEW < now || isAhead(auth_time, now)) {
    return loginRequired(maxAge)
  }
}

/**
 * Not of auth.md, whose guide sets no end to the life of an ID-JAG; revocations are not remembered for ever.
 * `expired` has the agent ask for another.
 */
async function judgeLateness(
  claims: IdJag,
  { revocations }: IdentityEndpointContext,
  now: number,
): Promise<Refusal | undefined> {
  if (!revocations) return undefined
  if (isOver(claims.iat + LONGEST_LIFE, now)) return answer('expired', 'The assertion is too old')
  return (await isRevoked(claims, revocations, now)) ? answer('expired', REVOKED) : undefined
}

/** Step 10. A flag is JSON `true`; the text `"true"` is none. */
function verifiedContact(claims: Claims): Contact | undefined {
  const { email, email_verified, phone_number, phone_number_verified } = claims
  const contact = {
    ...(isText(email) && email_verified === true && { email: email.toLowerCase() }),
    ...(isText(phone_number) && phone_number_verified === true && { phone_number }),
  }
  return Object.keys(contact).length > 0 ? contact : undefined
}

/** Step 11, for services that do it. */
async function isProvider(
  { client_id }: Claims,
  jwksUri: string,
  { fetchClientDocument }: IdentityEndpointContext,
): Promise<boolean> {
  if (!fetchClientDocument) return true
  if (!isClientDocumentUrl(client_id)) return false
  return isProviderDocument(await fetchClientDocument(client_id), client_id, jwksUri)
}

/** Steps 12 to 14. */
async function recognise(
  { header, claims }: Assertion,
  contact: Contact,
  { accounts }: IdentityEndpointContext,
): Promise<Recognised | Refusal> {
  const idJag = claims as IdJag
  const linked = await accounts.findLinked(idJag)
  if (linked === undefined) {
    const owner = await accounts.findByContact(contact)
    if (owner !== undefined) {
      const claim = await accounts.startClaim(owner, idJag)
      return answer('interaction_required', 'The user has to confirm this at the service', claim)
    }
  }
  return { ok: true, header, claims: idJag, contact, account: linked }
}

/** auth.md calls the text `message`; clients of other services look for `error_description`: both. */
function answer(error: string, message: string, members: Record<string, unknown> = {}): Refusal {
  const status = error === 'interaction_required' ? 401 : 400
  return refuse(status, error, message, { members: { message, ...members } })
}

/** The one answer that is told in a header too; the agent signs its user in anew (IJ-70). */
function loginRequired(maxAge: number): Refusal {
  const description = 'The user has to sign in again'
  const challenge = `AgentAuth error="login_required", max_age="${maxAge}", error_description="${description}"`
  return refuse(401, 'login_required', description, {
    members: { max_age: maxAge },
    headers: { 'www-authenticate': challenge },
  })
}

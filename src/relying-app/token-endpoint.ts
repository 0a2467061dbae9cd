import { isObject } from '../oauth/is-object.ts'
import { TYP } from '../oauth/names.ts'
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
import { REVOKED, type Refusal, refuse } from './refusal.ts'
import type { ReplayStore } from './replay-store.ts'
import { isRevoked, type RevocationStore } from './revocation-store.ts'
import { type Asked, narrowRights, type Rights } from './rights.ts'
import { isAhead, isDate, isOver, LONGEST_LIFE, SKEW } from './times.ts'
import { findIssuer, findSigner, type TrustedIssuer } from './trusted-issuer.ts'

/** Of a server that takes ID-JAGs for access tokens, by the JWT bearer grant. */
export type TokenEndpointContext = {
  profile: 'idjag' | 'mcp-ema'
  /** Its own issuer, as in its metadata. */
  self: string
  issuers: readonly TrustedIssuer[]
  replay: ReplayStore
  /** The one that `receiveEvent` writes: an ID-JAG of before an event gives nothing back. */
  revocations?: RevocationStore
  now: () => Date
  /** The client that proved who it is. A public client proves nothing: undefined. */
  client: { id: string } | undefined
  asked: Asked
  /** What it gives access tokens for. */
  resources: readonly string[]
  /** Meant by an ID-JAG that names none. Unless set: all of them for `idjag`, none for `mcp-ema`. */
  defaultResources?: readonly string[]
  /** The DPoP proof that came along and was verified, by the thumbprint of its key. */
  proof?: { jkt: string } | undefined
  /** Takes only ID-JAGs that are bound to a key. */
  requiresBinding?: boolean
  /** Whether this user may do anything here at all. */
  isEntitled?: (idJag: ClientIdJag) => Promise<boolean>
}

/** `client_id` is the agent's at this server. */
export type ClientIdJag = IdJag & { client_id: string }
export type Redeemable = Rights & { ok: true; header: Header; claims: ClientIdJag }

/** IJ-50 to IJ-58, in that order. */
export async function verifyAtTokenEndpoint(
  assertion: unknown,
  context: TokenEndpointContext,
): Promise<Redeemable | Refusal> {
  const now = numericDate(context.now())
  if (!context.client) return refuse(401, 'invalid_client', 'The client did not authenticate')
  if (!isText(assertion)) return refuse(400, 'invalid_request', 'The assertion is missing')

  const read = readAssertion(assertion)
  if (!read) return invalidGrant('The assertion is not a JWT')
  const fault =
    (await faultOfSigner(read, context, now)) ??
    faultOfTimes(read.claims, now) ??
    faultOfParties(read.claims, context.self, context.client) ??
    faultOfBinding(read.claims, context)
  if (fault) return invalidGrant(fault)

  const claims = read.claims as ClientIdJag
  if (context.revocations && (await isRevoked(claims, context.revocations, now))) {
    return invalidGrant(REVOKED)
  }
  // Not before the rest was judged: nobody but the client itself can use up its ID-JAG.
  if (!(await context.replay.firstUse(claims, { until: claims.exp + SKEW, now }))) {
    return invalidGrant('The assertion was presented before')
  }
  const rights = narrowRights(claims, context.asked, {
    resources: context.resources,
    defaults: context.defaultResources ?? (context.profile === 'idjag' ? context.resources : []),
  })
  if ('error' in rights) return rights
  if (context.isEntitled && !(await context.isEntitled(claims))) {
    return refuse(400, 'access_denied', 'The user has no access here')
  }
  return { ok: true, header: read.header, claims, ...rights }
}

/** IJ-51, IJ-52. */
async function faultOfSigner(
  read: Assertion,
  { issuers }: TokenEndpointContext,
  now: number,
): Promise<string | undefined> {
  const issuer = findIssuer(issuers, read)
  if (!issuer) return 'The assertion is of an issuer that is not trusted here'
  if (read.header.typ !== TYP.idJag) return 'The assertion is not typed as an ID-JAG'
  if (!(await findSigner(read, issuer, now))) return 'The assertion is not signed by its issuer'
}

/** IJ-52; `auth_time` because whoever asks for a recent sign-in will read it. */
function faultOfTimes({ exp, iat, nbf, auth_time }: Claims, now: number): string | undefined {
  if (!isDate(exp) || isOver(exp, now)) return 'The assertion has expired'
  if (!isDate(iat) || isAhead(iat, now)) return 'The assertion is from the future'
  if (exp - iat > LONGEST_LIFE) return 'The assertion lives too long'
  for (const date of [nbf, auth_time]) {
    if (date !== undefined && (!isDate(date) || isAhead(date, now))) {
      return 'The assertion speaks of the future'
    }
  }
}

/** IJ-53, IJ-54. */
function faultOfParties(claims: Claims, self: string, client: { id: string }): string | undefined {
  if (!isText(claims.jti) || !isText(claims.sub)) return 'The assertion lacks jti or sub'
  if (!isFor(self, claims)) return 'The assertion is for another audience'
  if (claims.client_id !== client.id) return 'The assertion is for another client'
}

/** IJ-55. A confirmation that is not understood is one that was not given. */
function faultOfBinding(
  { cnf }: Claims,
  { proof, requiresBinding = false }: TokenEndpointContext,
): string | undefined {
  if (cnf === undefined) return requiresBinding ? 'The assertion is not bound to a key' : undefined
  if (!isObject(cnf) || Object.keys(cnf).join() !== 'jkt') {
    return 'The assertion is bound in a way that is not understood'
  }
  if (!proof) return 'The assertion is bound to a key and no proof came'
  if (cnf.jkt !== proof.jkt) return 'The assertion is bound to another key'
}

const invalidGrant = (description: string) => refuse(400, 'invalid_grant', description)

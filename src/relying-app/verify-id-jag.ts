/**
 * What a relying app does with an ID-JAG before it believes a word of it. This folder is the app's side: it
 * needs `jose`, the ground floor `oauth/`, and nothing of the server.
 *
 * 1. A refusal is a value, and the answer to send. What is thrown is the app's own: its stores, its accounts.
 * 2. The steps come in the order of their specification, and the earliest fault answers.
 * 3. Keys come from the issuer that the app trusts, wherever the token points.
 * 4. What two parsers could read in two ways is refused before anything is read.
 * 5. A `jti` is used up only by a token that its issuer signed, for this app and in time.
 */
import { IssuerUnavailable } from './fetch-document.ts'
import {
  type IdentityEndpointContext,
  type Recognised,
  verifyAtIdentityEndpoint,
} from './identity-endpoint.ts'
import { type Refusal, refuse } from './refusal.ts'
import {
  type Redeemable,
  type TokenEndpointContext,
  verifyAtTokenEndpoint,
} from './token-endpoint.ts'

export type { IdJag } from './assertion.ts'
export { type FetchDocument, fetchDocument, IssuerUnavailable } from './fetch-document.ts'
export type {
  Accounts,
  Contact,
  IdentityEndpointContext,
  Recognised,
} from './identity-endpoint.ts'
export { type Refusal, refusalBody } from './refusal.ts'
export { createReplayStore, type ReplayStore } from './replay-store.ts'
export { createRevocationStore, isRevoked, type RevocationStore } from './revocation-store.ts'
export type { ClientIdJag, Redeemable, TokenEndpointContext } from './token-endpoint.ts'
export { type TrustedIssuer, trustIssuer } from './trusted-issuer.ts'

/**
 * By the profile of the app: `idjag` and `mcp-ema` at a token endpoint, `authmd` at an identity endpoint.
 * `assertion` is what came, of whatever type.
 */
export function verifyIdJag(
  assertion: unknown,
  context: TokenEndpointContext,
): Promise<Redeemable | Refusal>
export function verifyIdJag(
  assertion: unknown,
  context: IdentityEndpointContext,
): Promise<Recognised | Refusal>
export async function verifyIdJag(
  assertion: unknown,
  context: TokenEndpointContext | IdentityEndpointContext,
): Promise<Redeemable | Recognised | Refusal> {
  try {
    return context.profile === 'authmd'
      ? await verifyAtIdentityEndpoint(assertion, context)
      : await verifyAtTokenEndpoint(assertion, context)
  } catch (error) {
    if (!(error instanceof IssuerUnavailable)) throw error
    // Nothing is known against the token: the client may come back with it.
    return refuse(503, 'temporarily_unavailable', 'The issuer cannot be reached', {
      headers: { 'retry-after': '5' },
    })
  }
}

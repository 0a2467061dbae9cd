import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import type { DpopProof } from '../oauth/dpop.ts'
import {
  type DpopEndpoint,
  type DpopRequest,
  dpopEndpoint,
  judgeProof,
} from '../oauth/dpop-endpoint.ts'

/** Of the key whose holder sent the request; `digest` is spent with the outcome (DP-05). */
export type Proof = Pick<DpopProof, 'jkt' | 'digest' | 'expires_at'>
/** `nonce` is for `DPoP-Nonce`: what the next proof needs, where it is not what this one has. */
export type Proved = ({ proof: Proof | undefined } | { refused: Reason }) & {
  nonce?: string | undefined
}
export type ProveKey = (
  header: string | string[] | undefined,
  agent: Pick<AgentFacts, 'dpop_bound_access_tokens'>,
) => Proved

/**
 * Judges the DPoP proof of a token request, if there is one (RFC 9449 §4.3, DP-01…DP-04, DP-08). With
 * `DPOP_NONCES=on` a proof needs a nonce of ours; the refusal brings one.
 */
export function createProveKey(deps: Pick<Deps, 'config' | 'now'>): ProveKey {
  const endpoint = dpopEndpoint(deps.config, '/oauth2/token')
  return (header, agent) => judgeKey(endpoint, { header, method: 'POST', now: deps.now() }, agent)
}

/** The same of a request to any endpoint; an access token that comes along is named by the proof (DP-11). */
export function judgeKey(
  endpoint: DpopEndpoint,
  request: DpopRequest,
  agent: Pick<AgentFacts, 'dpop_bound_access_tokens'>,
): Proved {
  const judged = judgeProof(endpoint, request)
  if (judged === undefined) {
    return agent.dpop_bound_access_tokens ? { refused: 'no_dpop_proof' } : { proof: undefined }
  }
  if ('proof' in judged) return judged
  if (judged.refused === 'invalid_dpop_proof') return { refused: 'bad_dpop_proof' }
  return { refused: 'dpop_nonce_needed', nonce: judged.nonce }
}

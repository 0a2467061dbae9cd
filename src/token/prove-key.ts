import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import { type DpopProof, readDpopProof, verifyDpopProof } from '../oauth/dpop.ts'
import { currentNonce, dpopNonceKeys, isGoodNonce } from '../oauth/dpop-nonce.ts'

/** Of the key whose holder sent the request; `digest` is spent with the outcome (DP-05). */
export type Proof = Pick<DpopProof, 'jkt' | 'digest' | 'expires_at'>
export type ProveKey = (
  header: string | string[] | undefined,
  agent: Pick<AgentFacts, 'dpop_bound_access_tokens'>,
) => { proof: Proof | undefined } | { refused: Reason; nonce?: string }

/**
 * Judges the DPoP proof of a token request, if there is one (RFC 9449 §4.3, DP-01…DP-04, DP-08). With
 * `DPOP_NONCES=on` a proof needs a nonce of ours; the refusal brings one.
 */
export function createProveKey(deps: Pick<Deps, 'config' | 'now'>): ProveKey {
  const { issuer, dpopNonces, keyEncryptionKeys = [] } = deps.config
  const keys = dpopNonceKeys(keyEncryptionKeys)
  return (header, agent) => {
    const jws = readDpopProof(header)
    if (jws === undefined) {
      return agent.dpop_bound_access_tokens ? { refused: 'no_dpop_proof' } : { proof: undefined }
    }
    if ('refused' in jws) return { refused: 'bad_dpop_proof' }
    const now = deps.now()
    const proof = verifyDpopProof(jws, {
      method: 'POST',
      url: `${issuer}/oauth2/token`,
      now,
      ...(dpopNonces && { isGoodNonce: (nonce: string) => isGoodNonce(keys, nonce, now) }),
    })
    if (!('refused' in proof)) return { proof }
    if (proof.refused !== 'nonce_needed') return { refused: 'bad_dpop_proof' }
    return { refused: 'dpop_nonce_needed', nonce: currentNonce(keys, now) }
  }
}

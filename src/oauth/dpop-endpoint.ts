import { type DpopProof, readDpopProof, verifyDpopProof } from './dpop.ts'
import { currentNonce, type DpopNonceKeys, dpopNonceKeys, isGoodNonce } from './dpop-nonce.ts'

// What an endpoint makes of the DPoP header of one request (RFC 9449 §5, §7): is there a proof that holds,
// and which nonce does the next one need.

export type DpopEndpoint = {
  /** As published, without query and fragment. */
  url: string
  /** Given where a proof needs a nonce of ours. */
  nonceKeys: DpopNonceKeys | undefined
}

/** To be made once: it derives keys. */
export const dpopEndpoint = (
  of: { issuer: string; dpopNonces: boolean; keyEncryptionKeys: readonly Buffer[] | undefined },
  path: string,
): DpopEndpoint => ({
  url: `${of.issuer}${path}`,
  nonceKeys: of.dpopNonces ? dpopNonceKeys(of.keyEncryptionKeys ?? []) : undefined,
})

export type DpopRequest = {
  header: string | string[] | undefined
  method: string
  now: Date
  /** Given where one is presented: the proof has to name it. */
  accessToken?: string
}

/** `nonce` is for `DPoP-Nonce`: also beside a proof that holds, where a newer one is issued by now (DP-06). */
export type JudgedProof =
  | { proof: DpopProof; nonce: string | undefined }
  | { refused: 'invalid_dpop_proof' }
  | { refused: 'use_dpop_nonce'; nonce: string }

/** Undefined where the request has no proof. That a proof is used once is for the caller to see to. */
export function judgeProof(
  { url, nonceKeys }: DpopEndpoint,
  { header, method, now, accessToken }: DpopRequest,
): JudgedProof | undefined {
  const jws = readDpopProof(header)
  if (jws === undefined) return undefined
  if ('refused' in jws) return { refused: 'invalid_dpop_proof' }
  const nonce = nonceKeys && currentNonce(nonceKeys, now)
  const proof = verifyDpopProof(jws, {
    method,
    url,
    now,
    accessToken,
    isGoodNonce: nonceKeys && ((given) => isGoodNonce(nonceKeys, given, now)),
  })
  if (!('refused' in proof)) return { proof, nonce: proof.nonce === nonce ? undefined : nonce }
  if (proof.refused !== 'nonce_needed' || nonce === undefined) {
    return { refused: 'invalid_dpop_proof' }
  }
  return { refused: 'use_dpop_nonce', nonce }
}

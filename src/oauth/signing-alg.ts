/** The algorithms that this server signs with (RFC 7518 §3.1, RFC 8037 §3.1). */
export const SIGNING_ALGS = ['ES256', 'RS256', 'EdDSA', 'PS256', 'ES384'] as const
export type SigningAlg = (typeof SIGNING_ALGS)[number]

/** Those that every server signs with, whatever else it was told (DS-25). */
export const REQUIRED_ALGS = ['ES256', 'RS256'] as const satisfies readonly SigningAlg[]

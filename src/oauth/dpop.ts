import { hash } from 'node:crypto'
import { readDpopKey, rememberDpopKey } from './dpop-key.ts'
import { NONCE_LIFETIME } from './dpop-nonce.ts'
import { type DecodedJws, decodeJws, verifyJws } from './jws.ts'
import { TYP } from './names.ts'
import { addSeconds, fromNumericDate } from './numeric-date.ts'
import { normaliseUri, parseWebUrl } from './uri.ts'

// DPoP proofs (RFC 9449 §4): that who sends this request holds the private key that belongs to `jkt`.
// All is decided here but one thing: that a proof is used once. `digest` and `expires_at` are for the
// statement that sees to it (DP-05).

/** Which rule a proof fails, for the log. The caller hears `invalid_dpop_proof`, of `nonce_needed` `use_dpop_nonce`. */
export type DpopFault =
  | 'several_proofs'
  | 'malformed_proof'
  | 'wrong_typ'
  | 'wrong_alg'
  | 'private_key'
  | 'unusable_key'
  | 'bad_signature'
  | 'wrong_method'
  | 'wrong_url'
  | 'bad_jti'
  | 'wrong_time'
  | 'wrong_ath'
  | 'nonce_needed'

export type DpopProof = {
  /** RFC 7638 thumbprint of the key: the `cnf.jkt` of what is issued. */
  jkt: string
  jti: string
  iat: number
  /** As the proof has it. It was judged only where nonces are in use. */
  nonce: string | undefined
  /** What to remember of the proof, and how long: lies beside the digests of client assertions. */
  digest: Buffer
  expires_at: Date
}

export type DpopExpected = {
  method: string
  /** The endpoint as published, without query and fragment. */
  url: string
  now: Date
  /** Given where an access token is presented: the proof has to name it. */
  accessToken?: string | undefined
  /** Given where nonces are in use: the nonce then says how old the proof is, and `iat` does not (DP-04). */
  isGoodNonce?: ((nonce: string) => boolean) | undefined
}

/** Seconds that a client's clock may be ahead or behind (DP-04), and one replica's of another's. */
const SKEW = 60

/**
 * The proof of a request, nothing of it verified yet; undefined where there is none. Node joins repeated
 * headers with a comma, which a compact JWS never holds.
 */
export function readDpopProof(
  header: string | string[] | undefined,
): DecodedJws | { refused: DpopFault } | undefined {
  if (header === undefined) return undefined
  const proofs = [header].flat().join(',')
  if (proofs.includes(',')) return { refused: 'several_proofs' }
  return decodeJws(proofs) ?? { refused: 'malformed_proof' }
}

/** RFC 9449 §4.3. What costs least is asked first. */
export function verifyDpopProof(
  jws: DecodedJws,
  expected: DpopExpected,
): DpopProof | { refused: DpopFault } {
  const fault = faultOfClaims(jws, expected)
  if (fault !== undefined) return { refused: fault }
  const key = readDpopKey(jws.header.alg, jws.header.jwk)
  if ('refused' in key) return key
  if (!verifyJws(jws, key.alg, key.key)) return { refused: 'bad_signature' }
  rememberDpopKey(key)

  const { jti, iat, nonce } = jws.payload as Pick<DpopProof, 'jti' | 'iat' | 'nonce'>
  if (expected.isGoodNonce && !(nonce !== undefined && expected.isGoodNonce(nonce))) {
    return { refused: 'nonce_needed' }
  }
  return {
    jkt: key.jkt,
    jti,
    iat,
    nonce,
    digest: digestOf(expected.url, key.jkt, jti),
    // Remembered as long as any replica's clock may still think it fresh.
    expires_at: expected.isGoodNonce
      ? addSeconds(expected.now, NONCE_LIFETIME + 2 * SKEW)
      : fromNumericDate(Math.ceil(iat) + 2 * SKEW),
  }
}

function faultOfClaims(
  { header, payload }: DecodedJws,
  { method, url, now, accessToken, isGoodNonce }: DpopExpected,
): DpopFault | undefined {
  const { htm, htu, iat, jti, ath, nonce } = payload
  if (header.typ !== TYP.dpopProof) return 'wrong_typ'
  if (htm !== method) return 'wrong_method'
  if (typeof htu !== 'string' || !isSameEndpoint(htu, url)) return 'wrong_url'
  if (typeof jti !== 'string' || jti.length === 0 || jti.length > 512) return 'bad_jti'
  if (nonce !== undefined && typeof nonce !== 'string') return 'malformed_proof'
  if (typeof iat !== 'number') return 'wrong_time'
  if (!isGoodNonce && Math.abs(iat - now.getTime() / 1000) > SKEW) return 'wrong_time'
  if (accessToken !== undefined && ath !== hash('sha256', accessToken, 'base64url')) {
    return 'wrong_ath'
  }
  return undefined
}

/** After RFC 3986 normalisation, whatever query and fragment say (DP-03). */
function isSameEndpoint(htu: string, url: string): boolean {
  if (htu === url) return true
  const endpoint = endpointOf(htu)
  return endpoint !== undefined && endpoint === endpointOf(url)
}

/** Undefined for what a URL parser would have to repair. */
function endpointOf(uri: string): string | undefined {
  const bare = uri.replace(/[?#].*$/s, '')
  return parseWebUrl(bare, true) && normaliseUri(bare)
}

/** A client assertion's digest begins with the id of an agent, so that the two never meet. */
const digestOf = (url: string, jkt: string, jti: string): Buffer =>
  hash('sha256', `dpop-proof\n${url}\n${jkt}\n${jti}`, 'buffer')

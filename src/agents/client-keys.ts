import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { Deps } from '../deps.ts'
import type { DecodedJws, VerificationAlg } from '../oauth/jws.ts'
import type { LiveCredential } from './authenticate.ts'

/** A client's public key, imported, with the one algorithm it may be used with. */
export type ClientKey = {
  credential_id: string | null
  kid: string | undefined
  alg: VerificationAlg
  key: KeyObject
}

/** Importing a key costs as much as a verification, so it is done once for each credential. */
const MOST_KEYS = 10_000
const imported = new Map<string, ClientKey>()

/** The key of a credential that is live: that much is read for every request, the import is remembered. */
export function registeredKey({ id, kid, jwk }: LiveCredential): ClientKey {
  const known = imported.get(id)
  if (known !== undefined) return known
  const key = importKey(JSON.parse(jwk ?? '{}'), id, kid ?? undefined)
  if (key === undefined) throw new Error(`credential ${id} holds a key that cannot be used`)
  if (imported.size >= MOST_KEYS) imported.delete(imported.keys().next().value as string)
  imported.set(id, key)
  return key
}

/** Undefined for a key that is private, symmetric or of another kind than we verify with. */
export function importKey(
  jwk: JsonWebKey,
  credentialId: string | null,
  kid: string | undefined,
): ClientKey | undefined {
  const alg = algorithmOf(jwk)
  if (alg === undefined || jwk.d !== undefined) return undefined
  if (jwk['alg'] !== undefined && jwk['alg'] !== alg) return undefined
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') return undefined
  try {
    return {
      credential_id: credentialId,
      kid,
      alg,
      key: createPublicKey({ key: jwk, format: 'jwk' }),
    }
  } catch {
    return undefined
  }
}

function algorithmOf({ kty, crv, n }: JsonWebKey): VerificationAlg | undefined {
  if (kty === 'EC' && crv === 'P-256') return 'ES256'
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA'
  if (kty === 'RSA' && n !== undefined && Buffer.from(n, 'base64url').length >= 256) return 'RS256'
  return undefined
}

/** JWKS documents are at most this many bytes (DR-33). */
const JWKS_LIMIT = 256 * 1024
/** Milliseconds that a fetched document is used, and that an unknown kid waits before it is fetched again. */
const FRESH = 5 * 60_000
const COOL_DOWN = 30_000
const MOST_DOCUMENTS = 1_000

type Fetched = { at: number; keys: ClientKey[] }

/** Keys that agents publish at their own `jwks_uri`, fetched by the guarded way out. */
export const publishedKeys = {
  documents: new Map<string, Promise<Fetched>>(),

  /** None when the document cannot be had or has no key that fits. */
  async find(deps: Deps, uri: string, header: DecodedJws['header']): Promise<ClientKey[]> {
    const fitting = ({ keys }: Fetched) =>
      keys.filter(
        (key) =>
          key.alg === header.alg && (header['kid'] === undefined || key.kid === header['kid']),
      )
    const now = deps.now().getTime()
    const pending = this.documents.get(uri)
    const known = await pending
    if (known !== undefined && now - known.at < FRESH) {
      const keys = fitting(known)
      if (keys.length > 0 || now - known.at < COOL_DOWN) return keys
    }
    // Whoever waited for the same stale document may have begun to fetch it anew already.
    const newer = this.documents.get(uri)
    return fitting(
      await (newer !== undefined && newer !== pending ? newer : this.fetch(deps, uri, now)),
    )
  },

  /** A failure is remembered as an empty document for the cool-down. */
  fetch(deps: Deps, uri: string, at: number): Promise<Fetched> {
    const fetched = deps.outbound
      .getJson(uri, { maxBytes: JWKS_LIMIT })
      .then(({ json }) => ({ at, keys: keysOf(json) }))
      .catch((error) => {
        deps.log.warn({ err: error }, 'the jwks_uri of an agent could not be read')
        return { at, keys: [] }
      })
    if (this.documents.size >= MOST_DOCUMENTS) {
      this.documents.delete(this.documents.keys().next().value as string)
    }
    this.documents.set(uri, fetched)
    return fetched
  },
}

function keysOf(document: Record<string, unknown>): ClientKey[] {
  const keys = Array.isArray(document['keys']) ? document['keys'].slice(0, 20) : []
  return keys.flatMap((jwk) => {
    if (typeof jwk !== 'object' || jwk === null) return []
    const kid = typeof jwk.kid === 'string' ? jwk.kid : undefined
    return importKey(jwk, null, kid) ?? []
  })
}

import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { Deps } from '../deps.ts'
import type { DecodedJws, VerificationAlg } from '../oauth/jws.ts'
import { faultOfRsa } from '../oauth/rsa-bounds.ts'
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

/** Undefined for a key that is private, symmetric, out of bounds or of another kind than we verify with. */
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
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    return faultOfRsa(key) ? undefined : { credential_id: credentialId, kid, alg, key }
  } catch {
    return undefined
  }
}

function algorithmOf({ kty, crv }: JsonWebKey): VerificationAlg | undefined {
  if (kty === 'EC' && crv === 'P-256') return 'ES256'
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA'
  return kty === 'RSA' ? 'RS256' : undefined
}

/** JWKS documents are at most this many bytes (DR-33). */
const JWKS_LIMIT = 256 * 1024
/** Milliseconds that a fetched document is used before it is read again. */
const FRESH = 5 * 60_000
/** Milliseconds between two tries, for an unknown kid or after a failure. */
const COOL_DOWN = 30_000
/** Milliseconds that a document is used at the most while it cannot be read again. */
const STALE = 24 * 60 * 60_000
const MOST_DOCUMENTS = 1_000
/** Keys that one assertion is tried with at the most. */
const MOST_TRIED = 4

/** The document as last read, and when it was last asked for: in vain, if that is later. */
type Fetched = { askedAt: number; readAt: number; keys: ClientKey[] }

/** Keys that agents publish at their own `jwks_uri`, fetched by the guarded way out. */
export const publishedKeys = {
  documents: new Map<string, Promise<Fetched>>(),

  /** None when the document cannot be had or has no key that fits. */
  async find(deps: Deps, uri: string, header: DecodedJws['header']): Promise<ClientKey[]> {
    const now = deps.now().getTime()
    const fitting = ({ keys, readAt }: Fetched) =>
      now - readAt > STALE
        ? []
        : keys
            .filter(
              ({ alg, kid }) =>
                alg === header.alg && (header['kid'] === undefined || kid === header['kid']),
            )
            .slice(0, MOST_TRIED)
    const pending = this.documents.get(uri)
    const known = await pending
    if (known !== undefined) {
      const keys = fitting(known)
      const used = keys.length > 0 && now - known.readAt < FRESH
      if (used || now - known.askedAt < COOL_DOWN) return keys
    }
    // Whoever waited for the same stale document may have begun to fetch it anew already.
    const newer = this.documents.get(uri)
    return fitting(
      await (newer !== undefined && newer !== pending ? newer : this.fetch(deps, uri, now, known)),
    )
  },

  /** After a failure what was known before is remembered, be it nothing. */
  fetch(deps: Deps, uri: string, now: number, known?: Fetched): Promise<Fetched> {
    const fetched = deps.outbound
      .getJson(uri, { maxBytes: JWKS_LIMIT })
      .then(({ json }) => ({ askedAt: now, readAt: now, keys: keysOf(json) }))
      .catch((error) => {
        deps.log.warn({ err: error }, 'the jwks_uri of an agent could not be read')
        return { readAt: 0, keys: [], ...known, askedAt: now }
      })
    if (this.documents.size >= MOST_DOCUMENTS && !this.documents.has(uri)) {
      this.documents.delete(this.documents.keys().next().value as string)
    }
    this.documents.set(uri, fetched)
    return fetched
  },
}

/** @throws {TypeError} when it is not a JWKS at all */
function keysOf(document: Record<string, unknown>): ClientKey[] {
  if (!Array.isArray(document['keys'])) throw new TypeError('The document has no list of keys')
  return document['keys'].slice(0, 20).flatMap((jwk) => {
    if (typeof jwk !== 'object' || jwk === null) return []
    const kid = typeof jwk.kid === 'string' ? jwk.kid : undefined
    return importKey(jwk, null, kid) ?? []
  })
}

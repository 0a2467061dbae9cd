import { findPublishedKeys, importKey, keysFor, type PublicKey } from '../http/published-keys.ts'
import type { DecodedJws } from '../oauth/jws.ts'
import type { LiveCredential } from './authenticate.ts'
import type { ClientDocument } from './client-documents.ts'

/** A client's public key; null where the client publishes it itself. */
export type ClientKey = PublicKey & { credential_id: string | null }

/** Importing a key costs as much as a verification, so it is done once for each credential. */
const MOST_KEYS = 10_000
const imported = new Map<string, ClientKey>()

/** The key of a credential that is live: that much is read for every request, the import is remembered. */
export function registeredKey({ id, kid, jwk }: LiveCredential): ClientKey {
  const known = imported.get(id)
  if (known !== undefined) return known
  const key = importKey(JSON.parse(jwk ?? '{}'), kid ?? undefined)
  if (key === undefined) throw new Error(`credential ${id} holds a key that cannot be used`)
  if (imported.size >= MOST_KEYS) imported.delete(imported.keys().next().value as string)
  const registered = { ...key, credential_id: id }
  imported.set(id, registered)
  return registered
}

/** Keys that agents publish at their own `jwks_uri`: none when they cannot be had, or none of them fits. */
export const publishedKeys = {
  async find(
    deps: Parameters<typeof findPublishedKeys>[0],
    uri: string,
    header: DecodedJws['header'],
  ): Promise<ClientKey[]> {
    const { keys } = await findPublishedKeys(deps, uri, header)
    return keys.map((key) => ({ ...key, credential_id: null }))
  },
}

/** Keys of a client metadata document, which holds them or says where they are published. */
export async function documentKeys(
  deps: Parameters<typeof findPublishedKeys>[0],
  { keys, metadata: { jwks_uri } }: ClientDocument,
  header: DecodedJws['header'],
): Promise<ClientKey[]> {
  if (jwks_uri !== undefined) return publishedKeys.find(deps, jwks_uri, header)
  return keysFor(header, keys).map((key) => ({ ...key, credential_id: null }))
}

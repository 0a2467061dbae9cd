import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

// The header that a receiver wants to see with each push is its secret: AES-256-GCM under a key that the
// database does not hold, bound to its stream, as `v1.<nonce>.<ciphertext and tag>`.

const CIPHER = 'aes-256-gcm'
const TAG_BYTES = 16

/** Under the newest, that is the first, of the key encryption keys. */
export function sealHeader([newest]: Buffer[], streamId: string, header: string): string {
  if (newest === undefined) throw new Error('KEY_ENCRYPTION_KEY is not set')
  const nonce = randomBytes(12)
  const cipher = createCipheriv(CIPHER, keyOf(newest), nonce).setAAD(Buffer.from(streamId))
  const sealed = Buffer.concat([cipher.update(header, 'utf8'), cipher.final(), cipher.getAuthTag()])
  return `v1.${nonce.toString('base64url')}.${sealed.toString('base64url')}`
}

/** Undefined when none of the key encryption keys opens it. `stale`: it is not under the newest. */
export function openHeader(
  keks: Buffer[],
  streamId: string,
  sealed: string,
): { header: string; stale: boolean } | undefined {
  const [version, nonce = '', text = ''] = sealed.split('.')
  if (version !== 'v1') return undefined
  const bytes = Buffer.from(text, 'base64url')
  for (const [age, kek] of keks.entries()) {
    try {
      const decipher = createDecipheriv(CIPHER, keyOf(kek), Buffer.from(nonce, 'base64url'), {
        authTagLength: TAG_BYTES,
      })
        .setAAD(Buffer.from(streamId))
        .setAuthTag(bytes.subarray(-TAG_BYTES))
      const plain = [decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]
      return { header: Buffer.concat(plain).toString('utf8'), stale: age > 0 }
    } catch {
      // Of another key, or damaged: that is for the last one to say.
    }
  }
  return undefined
}

/** The setting serves other ends too, so each derives its own key from it (RFC 5869). */
const keyOf = (kek: Buffer) =>
  Buffer.from(hkdfSync('sha256', kek, '', 'agent-idp stream authorization header', 32))

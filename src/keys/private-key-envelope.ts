import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import type { Row } from '../db/tables.ts'

// How a private key lies in the database: AES-256-GCM under a key that the database does not hold
// (DS-27), as `v1.<id of that key>.<nonce>.<ciphertext and tag>`. The row's kid, purpose and algorithm
// are authenticated with it, so that a value copied into another row does not open.

/** What keeps a private key from being opened, in words for the operator who has to mend it. */
export class KeyEncryptionError extends Error {
  override name = 'KeyEncryptionError'
}

/** The row whose private key is in an envelope. */
type EnvelopeOf = Pick<Row<'signing_keys'>, 'kid' | 'purpose' | 'alg'>

const VERSION = 'v1'
const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Seals under the newest, that is the first, of the key encryption keys. */
export function sealPrivateKey(keks: Buffer[], of: EnvelopeOf, privateKey: KeyObject): string {
  const [newest] = keks
  if (!newest) throw new KeyEncryptionError('KEY_ENCRYPTION_KEY is not set')
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, envelopeKey(newest), nonce).setAAD(boundTo(of))
  const plain = privateKey.export({ type: 'pkcs8', format: 'der' })
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  plain.fill(0)
  return [VERSION, kekId(newest), nonce.toString('base64url'), sealed.toString('base64url')].join(
    '.',
  )
}

/** @throws {KeyEncryptionError} when no key encryption key fits, or the value is not this row's. */
export function openPrivateKey(keks: Buffer[], of: EnvelopeOf, envelope: string): KeyObject {
  const kek = requireKek(keks, of, envelope)
  const [, , nonce = '', text = ''] = envelope.split('.')
  const sealed = Buffer.from(text, 'base64url')
  try {
    if (sealed.toString('base64url') !== text) throw new Error('stray bits')
    const decipher = createDecipheriv(CIPHER, envelopeKey(kek), Buffer.from(nonce, 'base64url'), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(boundTo(of))
      .setAuthTag(sealed.subarray(-TAG_BYTES))
    const plain = Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()])
    const privateKey = createPrivateKey({ key: plain, type: 'pkcs8', format: 'der' })
    plain.fill(0)
    return privateKey
  } catch (cause) {
    throw new KeyEncryptionError(
      `The private key of signing key ${of.kid} (${of.purpose}, ${of.alg}) does not open: the row was changed or damaged`,
      { cause },
    )
  }
}

/** Whether this value, of any row, is under the newest of the key encryption keys. */
export const sealedUnderNewest = ([newest]: Buffer[], envelope: string): boolean =>
  newest !== undefined && envelope.startsWith(`${VERSION}.${kekId(newest)}.`)

/** The key encryption key that sealed or proved this value. @throws {KeyEncryptionError} when it is not among them. */
export function requireKek(keks: Buffer[], of: EnvelopeOf, envelope: string): Buffer {
  const [version, id] = envelope.split('.')
  const kek = version === VERSION ? keks.find((candidate) => kekId(candidate) === id) : undefined
  if (kek) return kek
  throw new KeyEncryptionError(
    version === VERSION
      ? `KEY_ENCRYPTION_KEY (or the file key-encryption-key in DATA_DIR) does not hold the key (id ${id}) that protects signing key ${of.kid} (${of.purpose}, ${of.alg}). Add the earlier value behind a comma, or a newer one before it: newest first`
      : `Signing key ${of.kid} is stored in a form that this version does not know`,
  )
}

const boundTo = ({ kid, purpose, alg }: EnvelopeOf) => Buffer.from(`${kid}|${purpose}|${alg}`)

/** The setting serves other ends too, so each derives its own key from it (RFC 5869). */
const envelopeKey = (kek: Buffer) => deriveKey(kek, 'agent-idp signing key envelope')

/** Names a key encryption key without telling anything of it. */
export const kekId = (kek: Buffer): string =>
  createHash('sha256')
    .update(deriveKey(kek, 'agent-idp key encryption key id'))
    .digest('hex')
    .slice(0, 12)

export const deriveKey = (kek: Buffer, use: string): Buffer =>
  Buffer.from(hkdfSync('sha256', kek, '', use, 32))

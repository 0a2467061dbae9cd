/**
 * Where private keys are. Nothing outside a custody ever holds one: others give it bytes and get a signature
 * (DS-27). To add a place, such as the key management of a cloud, write one file that exports `openCustody`
 * and name it in KEY_CUSTODY; docs/keys.md shows one.
 */
import type { KeyPurpose } from '../db/tables.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'

/** What a key is and what for. It never changes. */
export type KeyIdentity = { kid: string; purpose: KeyPurpose; alg: SigningAlg }

/** What the database keeps of a private key: an envelope of it, or where it is. Means something to its custody alone. */
export type HeldKey = KeyIdentity & { reference: string }

/** The signature of these bytes as JOSE writes it (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1): of ECDSA, r and s. */
export type SignBytes = (input: Buffer) => Buffer | Promise<Buffer>

export type Custody = {
  /** Begins every reference of another custody than the local one, as in `pkcs11:…`; lower-case letters and digits. */
  readonly name: string
  /**
   * Makes a key pair. RSA keys have 2048 bits.
   * @throws {CustodyError}
   */
  generate(slot: { purpose: KeyPurpose; alg: SigningAlg }): Promise<{
    public_jwk: Record<string, unknown>
    reference: string
  }>
  /**
   * What signs with a key that was made here before.
   * @throws {CustodyError} when it is not there, or is another one.
   */
  open(key: HeldKey): Promise<SignBytes>
  /**
   * Ends a private key for good. Asked again after a crash: a key that is not there is no error. The reference
   * comes from the database, where somebody may have written another one: what it names has to be the key of this
   * `kid`, or it stays.
   */
  destroy(key: HeldKey): Promise<void>
  close(): Promise<void>
}

/** What a file named in KEY_CUSTODY exports as `openCustody`. `setting` is all of KEY_CUSTODY. */
export type OpenCustody = (setting: string) => Promise<Custody>

/**
 * A key that cannot be made, found or used where it is kept, in words for the operator. A file elsewhere throws
 * an error of this name.
 */
export class CustodyError extends Error {
  override name = 'CustodyError'
  /** Whoever asked may ask again: the place may be there again in a moment. */
  readonly code = 'ECUSTODY'
}

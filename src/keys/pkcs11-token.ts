import { randomBytes } from 'node:crypto'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import {
  type Attribute,
  CKA_ALWAYS_SENSITIVE,
  CKA_CLASS,
  CKA_EC_PARAMS,
  CKA_EC_POINT,
  CKA_EXTRACTABLE,
  CKA_ID,
  CKA_KEY_TYPE,
  CKA_LABEL,
  CKA_MODULUS,
  CKA_NEVER_EXTRACTABLE,
  CKA_PRIVATE,
  CKA_PUBLIC_EXPONENT,
  CKA_SENSITIVE,
  CKA_SIGN,
  CKA_TOKEN,
  CKA_VERIFY,
  CKF_OS_LOCKING_OK,
  CKF_RW_SESSION,
  CKK_RSA,
  CKM,
  CKO_PRIVATE_KEY,
  CKO_PUBLIC_KEY,
  type Cryptoki,
  type Handle,
} from './cryptoki.ts'
import { CustodyError } from './custody.ts'
import { OTHER_USES, TOKEN_ALGORITHMS } from './pkcs11-algorithm.ts'
import { jwkOf, type PublicKeyAttributes } from './pkcs11-public-key.ts'
import { openSessions } from './pkcs11-sessions.ts'
import { findSlot, logIn } from './pkcs11-slot.ts'
import type { TokenSelector } from './pkcs11-uri.ts'
import { thumbprint } from './public-jwk.ts'

/** Keys are known by their CKA_ID, in hex: handles last no longer than this process. */
export type Token = {
  generate(alg: SigningAlg, label: string): Promise<{ id: string; publicKey: PublicKeyAttributes }>
  /** The public key beside a private one that cannot leave. */
  find(id: string): Promise<PublicKeyAttributes>
  sign(id: string, alg: SigningAlg, input: Buffer): Promise<Buffer>
  /** What is not there is no error. */
  destroy(id: string, kid: string): Promise<void>
  close(): void
}

/** More than a token works at in parallel is of no use, and libuv has four threads. */
const SIGNING_SESSIONS = 4
/** Bytes; of RSA with 8192 bits. */
const LONGEST_SIGNATURE = 1024

/** Everything here throws {CryptokiError|CustodyError}. */
export function openToken(cryptoki: Cryptoki, selector: TokenSelector, pin: string): Token {
  cryptoki.C_Initialize({ flags: CKF_OS_LOCKING_OK })
  const slot = findSlot(cryptoki, selector)
  logIn(cryptoki, slot, pin)
  const mechanisms = new Set(cryptoki.C_GetMechanismList(slot))
  const inWriting = openSessions(cryptoki, slot, { flags: CKF_RW_SESSION, number: 1 })
  const inSigning = openSessions(cryptoki, slot, { flags: 0, number: SIGNING_SESSIONS })
  const handles = new Map<string, Handle>()
  /** What is being signed: the binding keeps the address and nothing that saves it from being collected. */
  const held = new Set<Buffer>()

  return {
    generate: (alg, label) =>
      inWriting(async (session) => {
        const { generateBy, signBy, kind } = TOKEN_ALGORITHMS[alg]
        for (const name of [generateBy, signBy]) {
          if (mechanisms.has(CKM[name])) continue
          throw new CustodyError(
            `the token makes no keys for ${alg}, which SIGNING_ALGS asks for: it has no ${name}`,
          )
        }
        const bytes = randomBytes(16)
        const id = bytes.toString('hex')
        const named: Attribute[] = [
          { type: CKA_TOKEN, value: true },
          { type: CKA_ID, value: bytes },
          { type: CKA_LABEL, value: label },
        ]
        await cryptoki.C_GenerateKeyPairAsync(
          session,
          { mechanism: CKM[generateBy] },
          [...named, ...kind, { type: CKA_VERIFY, value: true }],
          [
            ...named,
            { type: CKA_PRIVATE, value: true },
            { type: CKA_SENSITIVE, value: true },
            { type: CKA_EXTRACTABLE, value: false },
            { type: CKA_SIGN, value: true },
            ...OTHER_USES.map((type) => ({ type, value: false })),
          ],
        )
        try {
          const ever = [CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE]
          if (!isKept(session, requireOne(session, CKO_PRIVATE_KEY, id), ever)) {
            throw new CustodyError('the token made a private key that can leave it')
          }
          return { id, publicKey: readPublicKey(session, id) }
        } catch (error) {
          destroy(session, id)
          throw error
        }
      }),

    find: (id) =>
      inWriting(async (session) => {
        if (!isKept(session, requireOne(session, CKO_PRIVATE_KEY, id), [])) {
          throw new CustodyError(`the private key ${id} can leave the token`)
        }
        return readPublicKey(session, id)
      }),

    sign: (id, alg, input) =>
      inSigning(async (session) => {
        const { signBy, parameter, prepare, size } = TOKEN_ALGORITHMS[alg]
        const key = handles.get(id) ?? requireOne(session, CKO_PRIVATE_KEY, id)
        handles.set(id, key)
        const mechanism = { mechanism: CKM[signBy], ...(parameter && { parameter }) }
        cryptoki.C_SignInit(session, mechanism, key)
        const prepared = prepare(input)
        held.add(prepared)
        const signature = await cryptoki
          .C_SignAsync(session, prepared, Buffer.alloc(LONGEST_SIGNATURE))
          .finally(() => held.delete(prepared))
        if (signature.length === size) return Buffer.from(signature)
        throw new CustodyError(`C_Sign gave ${signature.length} bytes for ${alg}, not ${size}`)
      }),

    destroy: (id, kid) =>
      inWriting(async (session) => {
        const [publicKey] = findObjects(session, CKO_PUBLIC_KEY, id)
        if (!publicKey && findObjects(session, CKO_PRIVATE_KEY, id).length > 0) {
          throw new CustodyError(`nothing shows whose key the one with the CKA_ID ${id} is`)
        }
        if (publicKey && thumbprint(jwkOf(readPublicKey(session, id))) !== kid) {
          throw new CustodyError(`the key with the CKA_ID ${id} is another one than ${kid}`)
        }
        destroy(session, id)
      }),
    close: () => cryptoki.C_Finalize(),
  }

  /** The private key first: as long as the public one is there, it is known which key is meant. */
  function destroy(session: Handle, id: string) {
    handles.delete(id)
    for (const kind of [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY]) {
      for (const key of findObjects(session, kind, id)) cryptoki.C_DestroyObject(session, key)
    }
  }

  function requireOne(session: Handle, kind: number, id: string): Handle {
    const [one, other] = findObjects(session, kind, id)
    if (one && !other) return one
    throw new CustodyError(`the token has ${one ? 'several keys' : 'no key'} with the CKA_ID ${id}`)
  }

  function findObjects(session: Handle, kind: number, id: string): Handle[] {
    cryptoki.C_FindObjectsInit(session, [
      { type: CKA_CLASS, value: kind },
      { type: CKA_ID, value: Buffer.from(id, 'hex') },
    ])
    const found = cryptoki.C_FindObjects(session, 8)
    cryptoki.C_FindObjectsFinal(session)
    return found
  }

  /** Whether nobody can have the private key out of the token, and `also` says that nobody ever could. */
  function isKept(session: Handle, key: Handle, also: number[]): boolean {
    const [extractable, ...kept] = [CKA_EXTRACTABLE, CKA_SENSITIVE, ...also].map(
      (type) => read(session, key, type)[0],
    )
    return extractable === 0 && kept.every((value) => value === 1)
  }

  function readPublicKey(session: Handle, id: string): PublicKeyAttributes {
    const key = requireOne(session, CKO_PUBLIC_KEY, id)
    const keyType = read(session, key, CKA_KEY_TYPE).readUInt32LE()
    if (keyType === CKK_RSA) {
      const modulus = read(session, key, CKA_MODULUS)
      return { keyType, modulus, publicExponent: read(session, key, CKA_PUBLIC_EXPONENT) }
    }
    const ecParams = read(session, key, CKA_EC_PARAMS)
    return { keyType, ecParams, ecPoint: read(session, key, CKA_EC_POINT) }
  }

  function read(session: Handle, object: Handle, type: number): Buffer {
    return cryptoki.C_GetAttributeValue(session, object, [{ type }])[0]?.value ?? Buffer.alloc(0)
  }
}

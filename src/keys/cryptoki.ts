import { createRequire } from 'node:module'
import { CustodyError } from './custody.ts'

// Cryptoki, the C interface of PKCS#11, as far as keys that sign need it. The names are the standard's own.
// pkcs11js is taken by `require`, and its types are not: it is optional, and absent where it was not compiled.

export type Handle = Buffer
export type Attribute = { type: number; value: Buffer | number | boolean | string }
export type Mechanism = {
  mechanism: number
  parameter?: { type: number; hashAlg: number; mgf: number; saltLen: number }
}
export type TokenInfo = {
  label: string
  manufacturerID: string
  model: string
  serialNumber: string
  flags: number
}
type KeyPair = { publicKey: Handle; privateKey: Handle }

export type Cryptoki = {
  C_Initialize(options: { flags: number }): void
  C_Finalize(): void
  C_GetSlotList(tokenPresent: boolean): Handle[]
  C_GetTokenInfo(slot: Handle): TokenInfo
  C_GetMechanismList(slot: Handle): number[]
  C_OpenSession(slot: Handle, flags: number): Handle
  C_CloseSession(session: Handle): void
  C_Login(session: Handle, userType: number, pin: string): void
  C_FindObjectsInit(session: Handle, template: Attribute[]): void
  C_FindObjects(session: Handle, most: number): Handle[]
  C_FindObjectsFinal(session: Handle): void
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    template: { type: number }[],
  ): { type: number; value: Buffer }[]
  C_DestroyObject(session: Handle, object: Handle): void
  C_GenerateKeyPairAsync(
    session: Handle,
    mechanism: Mechanism,
    publicKey: Attribute[],
    privateKey: Attribute[],
  ): Promise<KeyPair>
  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void
  C_SignAsync(session: Handle, input: Buffer, output: Buffer): Promise<Buffer>
}

/** Which function said no, and what it said: `CKR_PIN_INCORRECT`. */
export class CryptokiError extends Error {
  override name = 'CryptokiError'
  readonly ckr: string

  constructor(called: string, ckr: string) {
    super(`${called} failed with ${ckr}`)
    this.ckr = ckr
  }
}

/** A module, loaded into this process. Every function throws {CryptokiError}. @throws {CustodyError} */
export function loadCryptoki(modulePath: string): Cryptoki {
  const module = new (requirePkcs11js().PKCS11)()
  try {
    module.load(modulePath)
  } catch (error) {
    throw new CustodyError(
      `the PKCS#11 module cannot be loaded: check module-path in KEY_CUSTODY (${firstLine(error)})`,
    )
  }
  return namingFaults(module)
}

function requirePkcs11js(): { PKCS11: new () => Cryptoki & { load(path: string): void } } {
  try {
    return createRequire(import.meta.url)('pkcs11js')
  } catch (error) {
    throw new CustodyError(
      `KEY_CUSTODY names a PKCS#11 module, and the package pkcs11js is not built here. With a C++ compiler, make and Python 3 installed, run: npm install && npm rebuild pkcs11js (${firstLine(error)})`,
    )
  }
}

/** The binding leaves out of most errors which function it was. */
export function namingFaults(module: Cryptoki): Cryptoki {
  return new Proxy(module, {
    get(target, name: string) {
      const fail = (error: unknown): never => {
        throw new CryptokiError(name.replace(/Async$/, ''), ckrOf(error))
      }
      return (...args: unknown[]) => {
        try {
          const result = Reflect.get(target, name).apply(target, args)
          return result instanceof Promise ? result.catch(fail) : result
        } catch (error) {
          return fail(error)
        }
      }
    },
  })
}

/** A vendor's own codes have no names, but numbers that the vendor's documents explain. */
function ckrOf(error: unknown): string {
  const [, name = 'an error without a name', code] =
    /(CKR_\w+)(?::(\d+))?/.exec(firstLine(error)) ?? []
  if (name !== 'CKR_VENDOR_DEFINED') return name
  return `${name} 0x${Number(code ?? (error as { code?: number }).code).toString(16)}`
}

const firstLine = (error: unknown) => (error as Error).message.split('\n', 1)[0] ?? ''

export const CKF_OS_LOCKING_OK = 0x2
export const CKF_RW_SESSION = 0x2
export const CKF_SERIAL_SESSION = 0x4
export const CKF_TOKEN_INITIALIZED = 0x400
export const CKF_USER_PIN_FINAL_TRY = 0x20000
export const CKF_USER_PIN_LOCKED = 0x40000
export const CKU_USER = 1

export const CKO_PUBLIC_KEY = 2
export const CKO_PRIVATE_KEY = 3

export const CKK_RSA = 0x0
export const CKK_EC = 0x3
export const CKK_EC_EDWARDS = 0x40

export const CKA_CLASS = 0x0
export const CKA_TOKEN = 0x1
export const CKA_PRIVATE = 0x2
export const CKA_LABEL = 0x3
export const CKA_KEY_TYPE = 0x100
export const CKA_ID = 0x102
export const CKA_SENSITIVE = 0x103
export const CKA_DECRYPT = 0x105
export const CKA_UNWRAP = 0x107
export const CKA_SIGN = 0x108
export const CKA_SIGN_RECOVER = 0x109
export const CKA_VERIFY = 0x10a
export const CKA_DERIVE = 0x10c
export const CKA_MODULUS = 0x120
export const CKA_MODULUS_BITS = 0x121
export const CKA_PUBLIC_EXPONENT = 0x122
export const CKA_EXTRACTABLE = 0x162
export const CKA_NEVER_EXTRACTABLE = 0x164
export const CKA_ALWAYS_SENSITIVE = 0x165
export const CKA_EC_PARAMS = 0x180
export const CKA_EC_POINT = 0x181

/** The value that pkcs11js gives the shape of RSA-PSS parameters. */
export const CK_PARAMS_RSA_PSS = 5
export const CKG_MGF1_SHA256 = 2

/** By name, so that an error can say which one a token lacks. */
export const CKM = {
  CKM_RSA_PKCS_KEY_PAIR_GEN: 0x0,
  CKM_SHA256_RSA_PKCS: 0x40,
  CKM_SHA256_RSA_PKCS_PSS: 0x43,
  CKM_SHA256: 0x250,
  CKM_EC_KEY_PAIR_GEN: 0x1040,
  CKM_ECDSA: 0x1041,
  CKM_EC_EDWARDS_KEY_PAIR_GEN: 0x1055,
  CKM_EDDSA: 0x1057,
} as const

/**
 * The host of a PKCS#11 module, with a module that behaves as FAULT says: `removed` closes all sessions before
 * the next signature when the file FAULT_FILE is there and takes it away; `imported` makes keys that can leave
 * the token; `no-eddsa` has no Ed25519; `unlocked` cannot be used by several threads.
 */
import { existsSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { CKA_EXTRACTABLE, CKM, type Cryptoki } from '../../src/keys/cryptoki.ts'

type Module = Cryptoki & { C_CloseAllSessions(slot: Buffer): void }

const { FAULT, FAULT_FILE = '' } = process.env
const pkcs11js = createRequire(import.meta.url)('pkcs11js')
pkcs11js.PKCS11 = class extends (pkcs11js.PKCS11 as new () => Module) {
  constructor() {
    super()
    const { C_SignInit, C_GenerateKeyPairAsync, C_GetMechanismList } = this
    if (FAULT === 'removed') {
      this.C_SignInit = (...args) => {
        if (existsSync(FAULT_FILE)) {
          rmSync(FAULT_FILE)
          for (const slot of this.C_GetSlotList(true)) this.C_CloseAllSessions(slot)
        }
        C_SignInit.apply(this, args)
      }
    }
    if (FAULT === 'imported') {
      this.C_GenerateKeyPairAsync = (session, mechanism, publicKey, privateKey) =>
        C_GenerateKeyPairAsync.call(
          this,
          session,
          mechanism,
          publicKey,
          privateKey.map(({ type, value }) => ({ type, value: type === CKA_EXTRACTABLE || value })),
        )
    }
    if (FAULT === 'no-eddsa') {
      this.C_GetMechanismList = (slot) =>
        C_GetMechanismList.call(this, slot).filter((mechanism) => mechanism !== CKM.CKM_EDDSA)
    }
    if (FAULT === 'unlocked') {
      this.C_Initialize = () => {
        throw new Error('CKR_CANT_LOCK:10')
      }
    }
  }
}
await import('../../src/keys/pkcs11-host.ts')

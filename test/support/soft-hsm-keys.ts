/**
 * The private keys in a token of SoftHSM 2, taken out of its files with the PIN: what nobody can do with
 * hardware, and what a test has to do that looks for them elsewhere. `softhsm2-dump-file` shows the format.
 */
import { createDecipheriv, createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  CKA_CLASS,
  CKA_ID,
  CKA_KEY_TYPE,
  CKK_RSA,
  CKO_PRIVATE_KEY,
} from '../../src/keys/cryptoki.ts'
import type { PrivateParts } from './private-parts.ts'
import { objectFiles, type SoftToken } from './soft-hsm.ts'

const CKA_VALUE = 0x11
const CKA_PRIME_1 = 0x124
const CKA_PRIME_2 = 0x125
const CKA_OS_USERPIN = 0x8000534d
const MAGIC = 'RJR'
const PBE_ITERATIONS = 1500

/** By CKA_ID, in hex. */
export function privateKeysIn(token: SoftToken): Map<string, PrivateParts> {
  const [folder = ''] = readdirSync(token.folder)
  const file = readAttributes(join(token.folder, folder, 'token.object'))
  const key = tokenKey(file.get(CKA_OS_USERPIN) as Buffer, token.pin)
  const keys = objectFiles(token)
    .map(readAttributes)
    .filter((object) => numberIn(object, CKA_CLASS) === CKO_PRIVATE_KEY)
    .map((object): [string, PrivateParts] => {
      const open = (type: number) => decrypt(key, object.get(type) as Buffer)
      const isRsa = numberIn(object, CKA_KEY_TYPE) === CKK_RSA
      const parts: PrivateParts = isRsa
        ? { p: open(CKA_PRIME_1), q: open(CKA_PRIME_2) }
        : { d: open(CKA_VALUE) }
      return [open(CKA_ID).toString('hex'), parts]
    })
  return new Map(keys)
}

/** Under a key made of the PIN lies the one that private attributes are encrypted with. */
function tokenKey(sealed: Buffer, pin: string): Buffer {
  const salt = sealed.subarray(0, 8)
  let key = createHash('sha256').update(salt).update(pin).digest()
  for (let round = 1; round < PBE_ITERATIONS + (salt[7] as number); round++) {
    key = createHash('sha256').update(key).digest()
  }
  const plain = decrypt(key, sealed.subarray(8))
  if (plain.subarray(0, 3).toString() !== MAGIC) throw new Error('not the PIN of this token')
  return plain.subarray(3)
}

function decrypt(key: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-cbc', key, sealed.subarray(0, 16))
  return Buffer.concat([decipher.update(sealed.subarray(16)), decipher.final()])
}

const numberIn = (object: Map<number, Buffer>, type: number) =>
  Number(object.get(type)?.readBigUInt64BE())

/** After the generation: type, kind and value of each, in 64-bit numbers, the greatest byte first. */
function readAttributes(path: string): Map<number, Buffer> {
  const file = readFileSync(path)
  const found = new Map<number, Buffer>()
  let at = 8
  const number = () => {
    at += 8
    return Number(file.readBigUInt64BE(at - 8))
  }
  while (at < file.length) {
    const type = number()
    const kind = number()
    const length = kind === 1 ? 1 : kind === 2 ? 8 : number() * (kind === 5 ? 8 : 1)
    found.set(type, file.subarray(at, at + length))
    at += length
  }
  return found
}

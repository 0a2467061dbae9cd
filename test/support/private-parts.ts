/** What only the holder of a private key knows, and every form it could lie about in. */

import assert from 'node:assert/strict'
import { createECDH, createPrivateKey, createPublicKey } from 'node:crypto'

type Jwk = Record<string, unknown>

/** By the names of RFC 7518 §6: `d`, or of RSA the two primes. */
export type PrivateParts = Record<string, Buffer>

/** Of a private key in JWK form. */
export function privateParts(jwk: Jwk): PrivateParts {
  const names = jwk.kty === 'RSA' ? ['p', 'q'] : ['d']
  return Object.fromEntries(
    names.map((name) => [name, Buffer.from(String(jwk[name]), 'base64url')]),
  )
}

/** That these are the private parts of that public key: otherwise nobody need wonder that they are not found. */
export function assertBelong(parts: PrivateParts, { kty, crv, x, y, n }: Jwk): void {
  const bytes = (member: unknown) => Buffer.from(String(member), 'base64url')
  const number = (value: Buffer | undefined) => BigInt(`0x${value?.toString('hex')}`)
  if (kty === 'RSA') {
    assert.equal(number(parts.p) * number(parts.q), number(bytes(n)))
    return
  }
  const d = parts.d as Buffer
  if (kty === 'OKP') {
    const key = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), d])
    const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' })
    assert.equal(createPublicKey(privateKey as never).export({ format: 'jwk' }).x, x)
    return
  }
  const curve = createECDH(crv === 'P-256' ? 'prime256v1' : 'secp384r1')
  curve.setPrivateKey(d)
  assert.deepEqual(curve.getPublicKey(), Buffer.concat([Buffer.of(4), bytes(x), bytes(y)]))
}

export type Needle = { name: string; bytes: Buffer }

/** A number as JOSE and PKCS #8 write it, and as OpenSSL has it in memory; as bytes and in every usual text. */
export function needlesOf(name: string, secret: Buffer): Needle[] {
  const orders = { big: secret, little: Buffer.from(secret).reverse() }
  return Object.entries(orders).flatMap(([order, bytes]) => {
    const texts = [bytes.toString('hex'), bytes.toString('hex').toUpperCase(), ...inBase64(bytes)]
    return [bytes, ...texts.map((text) => Buffer.from(text))].map((form, index) => ({
      name: `${name}, ${order} endian, ${index === 0 ? 'raw' : `as ${texts[index - 1]?.slice(0, 4)}…`}`,
      bytes: form,
    }))
  })
}

/** In both alphabets, and wherever in an encoded structure it begins: without the characters it shares. */
function inBase64(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const padded = Buffer.concat([Buffer.alloc(before), bytes])
    const whole = Math.floor((padded.length * 8) / 6)
    const texts = [padded.toString('base64'), padded.toString('base64url')]
    return texts.map((text) => text.slice(Math.ceil((before * 8) / 6), whole))
  })
}

/** The names of the needles that are in it. In one pass, for there are many and it is large. */
export function findNeedles(haystack: Buffer, needles: Needle[]): Set<string> {
  const byStart = new Map<number, Needle[]>()
  const begins = new Uint8Array(65_536)
  for (const needle of needles) {
    const start = needle.bytes.readUInt16LE()
    begins[start] = 1
    byStart.set(start, [...(byStart.get(start) ?? []), needle])
  }
  const found = new Set<string>()
  for (let at = 0; at + 1 < haystack.length; at++) {
    const start = (haystack[at] as number) | ((haystack[at + 1] as number) << 8)
    if (begins[start] === 0) continue
    for (const { name, bytes } of byStart.get(start) ?? []) {
      if (haystack.subarray(at, at + bytes.length).equals(bytes)) found.add(name)
    }
  }
  return found
}

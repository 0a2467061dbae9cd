import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { trustIssuer } from '../../src/relying-app/verify-id-jag.ts'
import {
  asker,
  authMd,
  idJag,
  ORBIT,
  ras,
  recognised,
  redeemed,
  refused,
  TV_05,
} from './paperclip.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const jwksUri = `${ORBIT}/keys`
const rsaKey = { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa' }
const orbitWithRsa = trustIssuer(ORBIT, {
  jwksUri,
  ...asker({ [jwksUri]: { keys: [rsaKey] } }),
})
const signedByRsa = idJag({}, { alg: 'RS256', kid: 'rsa' }, (input) =>
  sign('sha256', Buffer.from(input), rsa.privateKey),
)
const orbit = trustIssuer(ORBIT, asker())

const TOKENS = [
  { name: 'TV-05 (ES256)', token: TV_05, issuers: [orbit] },
  { name: 'one with RS256', token: signedByRsa, issuers: [orbitWithRsa] },
]

for (const { name, token, issuers } of TOKENS) {
  const isRefused = async (changed: string) => {
    for (const context of [ras({ issuers }), authMd({ issuers })]) {
      assert.equal((await refused(changed, context)).status, 400, changed)
    }
  }

  test(`any change of a single byte of ${name} is refused`, async () => {
    await redeemed(token, ras({ issuers }))
    await recognised(token, authMd({ issuers }))
    const change = fc.record({
      at: fc.nat(token.length - 1),
      byte: fc.oneof(
        fc.nat(255),
        fc.constantFrom(...Buffer.from('ABCDEFGHabcdefgh0123456789-_+/=.')),
      ),
    })
    await fc.assert(
      fc.asyncProperty(change, async ({ at, byte }) => {
        fc.pre(token.charCodeAt(at) !== byte)
        await isRefused(token.slice(0, at) + String.fromCharCode(byte) + token.slice(at + 1))
      }),
      { numRuns: 1_000 },
    )
  })

  test(`any byte added to ${name} or taken from it, and any other last byte of a part, is refused`, async () => {
    const ends = [token.indexOf('.'), token.lastIndexOf('.'), token.length]
    for (const end of ends) {
      const last = token.charCodeAt(end - 1)
      for (let byte = 0; byte < 256; byte += 1) {
        const char = String.fromCharCode(byte)
        // In the last character of a part are bits that stand for nothing.
        if (byte !== last) await isRefused(token.slice(0, end - 1) + char + token.slice(end))
        await isRefused(token.slice(0, end) + char + token.slice(end))
      }
      await isRefused(token.slice(0, end - 1) + token.slice(end))
    }
  })
}

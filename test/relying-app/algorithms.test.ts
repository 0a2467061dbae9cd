// What an ID-JAG may be signed with, as a relying app sees it: what the published key is for decides (IJ-51).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { trustIssuer } from '../../src/relying-app/verify-id-jag.ts'
import { makeKeys, otherSignature } from '../oauth/jws-keys.ts'
import {
  asker,
  authMd,
  idJag,
  ORBIT,
  ORBIT_NET,
  ras,
  recognised,
  redeemed,
  refused,
} from './paperclip.ts'

const JWKS = `${ORBIT}/.well-known/jwks.json`
const ALGS = ['ES256', 'RS256', 'EdDSA', 'PS256', 'ES384'] as const
type Alg = (typeof ALGS)[number]
const keys = makeKeys()
const kid = 'the key'

/** An issuer that publishes the public half, saying so much of it. */
const publishing = (of: Alg, said: object) => {
  const jwk = { ...keys[of].publicKey.export({ format: 'jwk' }), kid, ...said }
  return [trustIssuer(ORBIT, asker({ ...ORBIT_NET, [JWKS]: { keys: [jwk] } }))]
}
const signedBy = (of: Alg, alg: string, by: Alg = of) =>
  idJag({}, { alg, kid }, (input) => otherSignature(by, input, keys[of].privateKey))

for (const alg of ALGS) {
  test(`${alg}, by a key that is published for it`, async () => {
    for (const said of [{ alg }, { alg, use: 'sig' }]) {
      await redeemed(signedBy(alg, alg), ras({ issuers: publishing(alg, said) }))
      await recognised(signedBy(alg, alg), authMd({ issuers: publishing(alg, said) }))
    }
  })

  test(`${alg}, and no other, by a key that is published for it`, async () => {
    for (const other of ALGS.filter((one) => one !== alg)) {
      const [issuers, elsewhere] = [publishing(alg, { alg }), publishing(alg, { alg: other })]
      const { error } = await refused(signedBy(alg, other), ras({ issuers }))
      assert.equal(error, 'invalid_grant', `${other} in the header`)
      const strange = await refused(signedBy(alg, alg), ras({ issuers: elsewhere }))
      assert.equal(strange.error, 'invalid_grant', `published for ${other}`)
    }
  })
}

test('an RSA key has the padding it is published for, whatever the token says', async () => {
  for (const [alg, other] of [
    ['RS256', 'PS256'],
    ['PS256', 'RS256'],
  ] as const) {
    const context = () => ras({ issuers: publishing('RS256', { alg }) })
    await redeemed(signedBy('RS256', alg, alg), context())
    for (const signed of [alg, other]) {
      const { error } = await refused(signedBy('RS256', other, signed), context())
      assert.equal(error, 'invalid_grant')
    }
  }
})

test('a key that does not say what it is for is for the usual algorithm of its kind', async () => {
  for (const alg of ['ES256', 'RS256', 'EdDSA', 'ES384'] as const) {
    await redeemed(signedBy(alg, alg), ras({ issuers: publishing(alg, {}) }))
  }
  const { error } = await refused(
    signedBy('PS256', 'PS256'),
    ras({ issuers: publishing('PS256', {}) }),
  )
  assert.equal(error, 'invalid_grant')
})

// PKCE by S256 (RFC 7636): the proof that who redeems a code is who asked for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isCodeChallenge, matchesChallenge } from '../../src/oauth/pkce.ts'

const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'

const unreserved = fc.constantFrom(
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~',
)
const code = (minLength: number, maxLength: number) =>
  fc.string({ unit: unreserved, minLength, maxLength })

test('the verifier of RFC 7636 appendix B matches its challenge (TV-03)', () => {
  assert.equal(matchesChallenge(VERIFIER, CHALLENGE), true)
})

test('no other verifier matches it, and plain is no method (OP-01)', () => {
  assert.equal(matchesChallenge(CHALLENGE, CHALLENGE), false)
  fc.assert(
    fc.property(code(43, 128), (verifier) => {
      assert.equal(matchesChallenge(verifier, CHALLENGE), verifier === VERIFIER)
      assert.equal(matchesChallenge(verifier, verifier), false)
    }),
  )
})

test('a challenge has 43 to 128 unreserved characters, and so has a verifier (OP-01)', () => {
  fc.assert(fc.property(code(43, 128), isCodeChallenge))
  const other = fc.oneof(
    code(0, 42),
    code(129, 200),
    fc
      .tuple(code(21, 60), fc.constantFrom('+', '/', '=', ' ', '\n', 'é', '\0'), code(22, 60))
      .map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(other, (value) => {
      assert.equal(isCodeChallenge(value), false)
      assert.equal(matchesChallenge(value, CHALLENGE), false)
    }),
  )
})

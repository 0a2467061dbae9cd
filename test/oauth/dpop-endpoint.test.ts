import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { calculateJwkThumbprint, exportJWK, SignJWT } from 'jose'
import { judgeProof } from '../../src/oauth/dpop-endpoint.ts'
import { currentNonce, dpopNonceKeys } from '../../src/oauth/dpop-nonce.ts'

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = await exportJWK(publicKey)
const jkt = await calculateJwkThumbprint(jwk)

const url = 'https://id.orbit.example/oauth2/token'
const nonceKeys = dpopNonceKeys([randomBytes(32)])
const AT = 1_795_276_800
const now = new Date(AT * 1000)
const later = (seconds: number) => new Date((AT + seconds) * 1000)

const proofWith = (claims: object = {}) =>
  new SignJWT({ htm: 'POST', htu: url, iat: AT, jti: 'one', ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
    .sign(privateKey)

const judge = (header: string | undefined) =>
  judgeProof({ url, nonceKeys: undefined }, { header, method: 'POST', now })
const judgeWithNonces = (header: string | undefined, at = now) =>
  judgeProof({ url, nonceKeys }, { header, method: 'POST', now: at })

/** The thumbprint and the nonce to tell, or the refusal. */
const outcome = (judged: ReturnType<typeof judgeProof>) =>
  judged && 'proof' in judged ? [judged.proof.jkt, judged.nonce] : judged

test('no proof is no answer; with or without nonces', () => {
  assert.equal(judge(undefined), undefined)
  assert.equal(judgeWithNonces(undefined), undefined)
})

test('a proof that holds is handed on, and a bad one is refused', async () => {
  assert.deepEqual(outcome(judge(await proofWith())), [jkt, undefined])
  const bad = { refused: 'invalid_dpop_proof' }
  assert.deepEqual(judge('a.b.c'), bad)
  assert.deepEqual(judge(`${await proofWith()},${await proofWith()}`), bad)
  assert.deepEqual(judge(await proofWith({ htm: 'GET' })), bad)
  assert.deepEqual(judge(await proofWith({ iat: AT - 61 })), bad)
})

test('with nonces a proof without one, or with a wrong one, is told the current one (TV-78, DP-06)', async () => {
  const asked = { refused: 'use_dpop_nonce', nonce: currentNonce(nonceKeys, now) }
  assert.deepEqual(judgeWithNonces(await proofWith()), asked)
  assert.deepEqual(judgeWithNonces(await proofWith({ nonce: 'made up' })), asked)
  const bad = { refused: 'invalid_dpop_proof' }
  assert.deepEqual(judgeWithNonces(await proofWith({ htm: 'GET' })), bad, 'bad in itself')
})

test('a nonce is told beside a proof only once a newer one is issued (DP-06)', async () => {
  const nonce = currentNonce(nonceKeys, now)
  const proof = await proofWith({ nonce })
  assert.deepEqual(outcome(judgeWithNonces(proof)), [jkt, undefined])
  const next = currentNonce(nonceKeys, later(150))
  assert.notEqual(next, nonce)
  assert.deepEqual(outcome(judgeWithNonces(proof, later(150))), [jkt, next])
  const after = currentNonce(nonceKeys, later(300))
  const asked = { refused: 'use_dpop_nonce', nonce: after }
  assert.deepEqual(judgeWithNonces(proof, later(300)), asked)
})

test('a nonce counts for nothing where none are in use', async () => {
  assert.deepEqual(outcome(judge(await proofWith({ nonce: 'whatever' }))), [jkt, undefined])
})

test('beside an access token the proof has to name it (DP-11)', async () => {
  const ask = (header: string) =>
    judgeProof(
      { url, nonceKeys: undefined },
      { header, method: 'POST', now, accessToken: 'a.token.x' },
    )
  assert.deepEqual(ask(await proofWith()), { refused: 'invalid_dpop_proof' })
  const ath = 'fAwMpARsi90PmoxitVwA8cz03Zxt_BI5UYdjZj4fCOU'
  assert.deepEqual(outcome(ask(await proofWith({ ath }))), [jkt, undefined])
})

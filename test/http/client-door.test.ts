import assert from 'node:assert/strict'
import { test } from 'node:test'
import Fastify from 'fastify'
import { oauthErrorHandler } from '../../src/http/client-door.ts'
import { OAuthError, type OAuthErrorDetails } from '../../src/oauth/errors.ts'

async function told(code: 'use_dpop_nonce' | 'invalid_dpop_proof', details?: OAuthErrorDetails) {
  const app = Fastify()
  app.setErrorHandler(oauthErrorHandler)
  app.get('/', async () => {
    throw new OAuthError(code, 'Words', details)
  })
  return app.inject('/')
}

test('a nonce for the next proof is told in DPoP-Nonce, and nowhere else (TV-78, DP-06)', async () => {
  const answer = await told('use_dpop_nonce', { dpopNonce: 'n-0S6_WzA2Mj' })
  assert.equal(answer.statusCode, 400)
  assert.equal(answer.headers['dpop-nonce'], 'n-0S6_WzA2Mj')
  assert.equal(answer.headers['cache-control'], 'no-store')
  assert.deepEqual(answer.json(), { error: 'use_dpop_nonce', error_description: 'Words' })
})

test('a bad proof is a 400, without DPoP-Nonce where there is none (TV-77)', async () => {
  const answer = await told('invalid_dpop_proof')
  assert.equal(answer.statusCode, 400)
  assert.equal(answer.json().error, 'invalid_dpop_proof')
  assert.equal(answer.headers['dpop-nonce'], undefined)
})

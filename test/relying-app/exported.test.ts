// What a relying app imports, under the name that package.json gives it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as exported from 'agent-idp/verify-id-jag'
import { ras, refused, TV_05 } from './paperclip.ts'

test('the package exports the verifier and what goes with it', async () => {
  assert.deepEqual(Object.keys(exported).sort(), [
    'IssuerUnavailable',
    'createReplayStore',
    'createRevocationStore',
    'fetchDocument',
    'isRevoked',
    'refusalBody',
    'trustIssuer',
    'verifyIdJag',
  ])
  const verdict = await exported.verifyIdJag(TV_05, ras())
  assert.equal(verdict.ok, true)
})

test('an assertion that is no text is missing, whatever a form parser made of it', async () => {
  for (const assertion of [undefined, null, '', 1, [TV_05], new URLSearchParams()]) {
    const refusal = await refused(assertion, ras())
    const { error_description } = refusal
    assert.deepEqual(exported.refusalBody(refusal), { error: 'invalid_request', error_description })
  }
})

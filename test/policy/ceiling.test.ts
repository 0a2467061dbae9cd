import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withinCeiling } from '../../src/policy/ceiling.ts'

const API = 'https://api.paperclip.example/'
const FILES = 'https://files.paperclip.example/'
const audience = {
  resources: [
    { identifier: API, scopes: [{ name: 'docs.read' }] },
    { identifier: FILES, scopes: [{ name: 'files.read' }] },
  ],
}
const scopes = ['docs.read', 'files.read']

test('a user is asked for no resource that the audience does not have', () => {
  const asked = { scopes, resources: [API, 'https://nowhere.example/'] }
  const possible = withinCeiling(asked, { scopes, resources: null }, audience)
  assert.deepEqual(possible, { scopes: ['docs.read'], resources: [API] })
})

test('without a resource, scopes count of those that the entitlement lets through', () => {
  const asked = { scopes, resources: [] }
  const bounded = withinCeiling(asked, { scopes, resources: [FILES] }, audience)
  assert.deepEqual(bounded, { scopes: ['files.read'], resources: [] })
  const unbounded = withinCeiling(asked, { scopes, resources: null }, audience)
  assert.deepEqual(unbounded, { scopes, resources: [] })
})

test('with one that is not entitled, its scopes do not come by another that is', () => {
  const asked = { scopes, resources: [API] }
  const possible = withinCeiling(asked, { scopes, resources: [API, FILES] }, audience)
  assert.deepEqual(possible, { scopes: ['docs.read'], resources: [API] })
})

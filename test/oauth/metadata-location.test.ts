import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  readMetadataUrl,
  resourceLocations,
  sameServer,
  serverLocations,
  speaksOf,
} from '../../src/oauth/metadata-location.ts'

const API = 'https://api.chat.example'
const WELL_KNOWN = `${API}/.well-known`

test('the metadata of a resource lies before its path, or at the root (DR-01)', () => {
  const at = `${WELL_KNOWN}/oauth-protected-resource`
  assert.deepEqual(resourceLocations(`${API}/mcp/v1`), [`${at}/mcp/v1`, at])
  assert.deepEqual(resourceLocations(`${API}/mcp?team=7`), [`${at}/mcp?team=7`, at])
  for (const root of [API, `${API}/`]) assert.deepEqual(resourceLocations(root), [at])
})

test('the metadata of a server is looked for in three places, without a path in two (DR-05)', () => {
  assert.deepEqual(serverLocations(`${API}/t/7`), [
    `${WELL_KNOWN}/oauth-authorization-server/t/7`,
    `${WELL_KNOWN}/openid-configuration/t/7`,
    `${API}/t/7/.well-known/openid-configuration`,
  ])
  for (const root of [API, `${API}/`]) {
    assert.deepEqual(serverLocations(root), [
      `${WELL_KNOWN}/oauth-authorization-server`,
      `${WELL_KNOWN}/openid-configuration`,
    ])
  }
})

const origin = fc.constantFrom(API, 'https://auth.example:8443', 'http://127.0.0.1:4100')
const path = fc
  .array(fc.stringMatching(/^[a-z0-9_~-]{1,8}$/), { maxLength: 4 })
  .map((segments) => segments.map((segment) => `/${segment}`).join(''))
const identifier = fc.tuple(origin, path).map((parts) => parts.join(''))

test('where metadata lies says what it speaks of', () => {
  fc.assert(
    fc.property(identifier, (of) => {
      assert.deepEqual(readMetadataUrl(resourceLocations(of)[0] ?? ''), {
        of: 'resource',
        identifier: of,
      })
      for (const url of serverLocations(of)) {
        assert.deepEqual(readMetadataUrl(url), { of: 'server', identifier: of })
      }
      assert.equal(readMetadataUrl(of), undefined)
    }),
  )
  assert.equal(readMetadataUrl(`${WELL_KNOWN}/oauth-authorization-server?x=1`), undefined)
  assert.equal(readMetadataUrl(`${WELL_KNOWN}/oauth-authorization-servers`), undefined)
})

test('a resource speaks for what lies below it, segment by segment (DR-02, DR-03)', () => {
  fc.assert(
    fc.property(identifier, path, (above, below) => {
      assert.ok(speaksOf(above, above + below))
      assert.ok(speaksOf(`${above}/`, above + below) || below === '')
    }),
  )
  assert.ok(speaksOf('HTTPS://API.chat.example:443', `${API}/`))
  assert.ok(speaksOf(`${API}/mcp?x=1`, `${API}/mcp?x=1`))
})

const SILENT: [resource: string, requested: string][] = [
  [`${API}/mcp`, API],
  [`${API}/mcp`, `${API}/mcp2`],
  [`${API}/mcp/`, `${API}/mc`],
  [`${API}/mcp?x=1`, `${API}/mcp`],
  [`${API}/MCP`, `${API}/mcp`],
  ['https://other.example/mcp', `${API}/mcp`],
  ['https://api.chat.example.evil.example', API],
  ['https://api.chat.example:8443', API],
  ['http://api.chat.example', API],
  ['https://chat.example', API],
]
for (const [resource, requested] of SILENT) {
  test(`${resource} does not speak for ${requested} (DR-02, DR-03, TV-98)`, () =>
    assert.equal(speaksOf(resource, requested), false))
}

test('servers are the same with one slash more where there is no path, and not otherwise (DR-06)', () => {
  assert.ok(sameServer(API, `${API}/`))
  assert.ok(sameServer(`${API}/`, API))
  for (const other of [`${API}//`, `${API}/t/7`, 'https://API.chat.example', `${API}:443`]) {
    assert.equal(sameServer(API, other), false, other)
  }
  assert.equal(sameServer(`${API}/t/7`, `${API}/t/7/`), false)
})

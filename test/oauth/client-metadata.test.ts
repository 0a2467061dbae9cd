import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  isCoveredByHost,
  isMetadataHost,
  isMetadataUrl,
  looksLikeMetadataUrl,
  readClientMetadata,
} from '../../src/oauth/client-metadata.ts'
import { GRANT, ID_JAG_GRANT_PROFILE, JWT_BEARER_GRANT } from '../../src/oauth/names.ts'
import { SIGNING_ALGS } from '../../src/oauth/signing-alg.ts'

const URL_ = 'https://agents.orbit.example/writer.json'
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const JWK = { ...pair.publicKey.export({ format: 'jwk' }), kid: 'one' }
const PRIVATE = pair.privateKey.export({ format: 'jwk' })

const GOOD = {
  client_id: URL_,
  client_name: 'Orbit Writer',
  client_uri: 'https://orbit.example',
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [JWK] },
  redirect_uris: ['https://agents.orbit.example/callback'],
  grant_types: [...Object.values(GRANT), JWT_BEARER_GRANT],
  authorization_grant_profiles_supported: [ID_JAG_GRANT_PROFILE],
}
const read = (members: object) => readClientMetadata({ ...GOOD, ...members }, URL_, false)
const metadataOf = (members: object) => {
  const found = read(members)
  assert.ok('metadata' in found, JSON.stringify(found))
  return found.metadata
}

const URLS: [url: string, good: boolean][] = [
  ['https://agents.example/a', true],
  ['https://agents.example:8443/a/b.json', true],
  ['https://agents.example/a?b=c', true],
  ['https://[2606::1]/a', true],
  ['https://agents.example/a%20b', true],
  ['https://agents.example', false],
  ['https://agents.example/', false],
  ['https://agents.example?a', false],
  ['https://agents.example/?a', false],
  ['https://agents.example/a#b', false],
  ['https://agents.example/a#', false],
  ['https://user@agents.example/a', false],
  ['https://@agents.example/a', false],
  ['https://user:word@agents.example/a', false],
  ['https://agents.example/a/../b', false],
  ['https://agents.example/./a', false],
  ['https://agents.example/a/..', false],
  ['https://agents.example/%2e%2e/a', false],
  ['https://agents.example/a/%2E', false],
  ['https://Agents.example/a', false],
  ['HTTPS://agents.example/a', false],
  ['https://agents.example:443/a', false],
  ['https://agents.example\\a', false],
  ['https://agents.example/a b', false],
  ['https://agents.example/ä', false],
  ['https:agents.example/a', false],
  ['https:///agents.example/a', false],
  [' https://agents.example/a', false],
  ['http://agents.example/a', false],
  ['ftp://agents.example/a', false],
  ['agt_3kTMd0a1uQ4jZP5cYb7rxw', false],
  [`https://agents.example/${'a'.repeat(1001)}`, true],
  [`https://agents.example/${'a'.repeat(1002)}`, false],
]
for (const [url, good] of URLS) {
  test(`${url.slice(0, 60)} (${url.length}) ${good ? 'may' : 'may not'} name a client (DS-40)`, () => {
    assert.equal(isMetadataUrl(url, false), good)
    assert.equal(isMetadataUrl(url, true), good)
  })
}

test('http names a client on a loopback address alone, and only where that is allowed (DS-40)', () => {
  for (const host of ['localhost', '127.0.0.1:8080', '[::1]']) {
    assert.equal(isMetadataUrl(`http://${host}/a`, true), true)
    assert.equal(isMetadataUrl(`http://${host}/a`, false), false)
  }
  assert.equal(isMetadataUrl('http://10.0.0.1/a', true), false)
})

test('whatever may name a client looks like it, and is what a URL parser would write (DS-40)', () => {
  fc.assert(
    fc.property(fc.oneof(fc.webUrl({ withFragments: true }), fc.string()), (text) => {
      if (!isMetadataUrl(text, true)) return
      assert.ok(looksLikeMetadataUrl(text))
      assert.equal(new URL(text).href, text)
      assert.ok(!text.includes('#'))
    }),
  )
})

test('what is no URL does not look like one, and so names a record', () => {
  for (const id of ['agt_3kTMd0a1uQ4jZP5cYb7rxw', '', 'https', 'ftp://a.example/b', ' https://a']) {
    assert.equal(looksLikeMetadataUrl(id), false, id)
  }
  assert.equal(looksLikeMetadataUrl('HTTPS://a'), true)
})

test('a host is written as in a URL, with a port that is not the usual one', () => {
  for (const host of [
    'agents.example',
    'agents.example:8443',
    '[2606::1]',
    'xn--bcher-kva.example',
  ]) {
    assert.equal(isMetadataHost(host, false), true, host)
  }
  for (const host of [
    ...['', 'Agents.example', 'agents.example/', 'agents.example:443', 'a b', 'u@agents.example'],
    ...[
      'https://agents.example',
      'agents.example?a',
      'agents.example#a',
      '*.example',
      'bücher.example',
    ],
  ]) {
    assert.equal(isMetadataHost(host, true), false, host)
  }
  assert.equal(isMetadataHost('localhost:4001', false), false)
  assert.equal(isMetadataHost('localhost:4001', true), true)
})

test('permission for a host is none for a URL with a query, which the host may only repeat', () => {
  assert.equal(isCoveredByHost(URL_), true)
  assert.equal(isCoveredByHost(`${URL_}?a`), false)
  assert.equal(isCoveredByHost(`${URL_}?`), false)
})

test('of a good document counts what would otherwise have been registered', () => {
  assert.deepEqual(metadataOf({}), {
    client_name: 'Orbit Writer',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: [JWK],
    jwks_uri: undefined,
    redirect_uris: GOOD.redirect_uris,
    grant_types: Object.values(GRANT),
    id_token_signed_response_alg: 'RS256',
    dpop_bound_access_tokens: false,
  })
  const other = metadataOf({
    jwks: undefined,
    jwks_uri: 'https://agents.orbit.example/jwks.json',
    client_name: undefined,
    id_token_signed_response_alg: 'ES256',
    dpop_bound_access_tokens: true,
  })
  assert.equal(other.jwks, undefined)
  assert.equal(other.jwks_uri, 'https://agents.orbit.example/jwks.json')
  assert.equal(other.client_name, undefined)
  assert.equal(other.id_token_signed_response_alg, 'ES256')
  assert.equal(other.dpop_bound_access_tokens, true)
  for (const id_token_signed_response_alg of SIGNING_ALGS) {
    const given = { id_token_signed_response_alg }
    assert.equal(metadataOf(given).id_token_signed_response_alg, id_token_signed_response_alg)
  }
  assert.equal(metadataOf({ client_name: 'a'.repeat(200) }).client_name?.length, 200)
})

test('without grant_types it is for the code flow, and redirect URIs are for that alone (DS-49)', () => {
  const plain = { grant_types: undefined, authorization_grant_profiles_supported: undefined }
  assert.deepEqual(metadataOf(plain).grant_types, [GRANT.authorizationCode])
  assert.match(faultOf({ ...plain, redirect_uris: undefined }), /no redirect_uris/)
  assert.match(faultOf({ ...plain, redirect_uris: [] }), /no redirect_uris/)
  const exchange = {
    grant_types: [GRANT.tokenExchange, JWT_BEARER_GRANT],
    redirect_uris: undefined,
  }
  assert.deepEqual(metadataOf(exchange).redirect_uris, [])
})

test('a public client has no keys, and does not exchange', () => {
  const found = metadataOf({ token_endpoint_auth_method: 'none' })
  assert.deepEqual(found.grant_types, [GRANT.authorizationCode, GRANT.refreshToken])
  assert.equal(found.jwks, undefined)
  const elsewhere = { jwks: undefined, jwks_uri: 'https://agents.orbit.example/k' }
  assert.equal(metadataOf({ ...elsewhere, token_endpoint_auth_method: 'none' }).jwks_uri, undefined)
  const none = { token_endpoint_auth_method: 'none', grant_types: [GRANT.tokenExchange] }
  assert.match(faultOf({ ...none, authorization_grant_profiles_supported: [] }), /grant_types/)
})

function faultOf(members: object): string {
  const found = read(members)
  assert.ok('fault' in found, 'it was taken')
  return found.fault
}

const { jwks: _, ...WITHOUT_KEYS } = GOOD
const FAULTS: [why: string, members: object, fault: RegExp][] = [
  ['has no client_id (DS-41)', { client_id: undefined }, /client_id/],
  ['has the client_id of another (DS-41)', { client_id: `${URL_}x` }, /client_id/],
  ['has its client_id in other letters (DS-41)', { client_id: URL_.toUpperCase() }, /client_id/],
  ['has a client_secret (DS-42)', { client_secret: 's3cret' }, /client_secret\b/],
  ['has an empty client_secret (DS-42)', { client_secret: null }, /client_secret\b/],
  ['says when a secret ends (DS-42)', { client_secret_expires_at: 0 }, /client_secret_expires_at/],
  ['has no method', { token_endpoint_auth_method: undefined }, /auth_method/],
  ...(['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'tls_client_auth', 1].map(
    (token_endpoint_auth_method) => [
      `authenticates by ${token_endpoint_auth_method} (DS-42)`,
      { token_endpoint_auth_method },
      /auth_method/,
    ],
  ) as [string, object, RegExp][]),
  ['has a private key (DS-42)', { jwks: { keys: [JWK, PRIVATE] } }, /private/],
  [
    'is public and has a private key (DS-42)',
    { token_endpoint_auth_method: 'none', jwks: { keys: [PRIVATE] } },
    /private/,
  ],
  ['has a symmetric key (DS-42)', { jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] } }, /private/],
  ...(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((member) => [
    `has a key with ${member} (DS-42)`,
    { jwks: { keys: [{ ...JWK, [member]: 'AAAA' }] } },
    /private/,
  ]) as [string, object, RegExp][]),
  ['has nothing for a key', { jwks: { keys: [null] } }, /jwks/],
  ['has nothing for keys', { jwks: null }, /jwks/],
  ['has a list for a key', { jwks: { keys: [[]] } }, /jwks/],
  ['has an object for a list of keys', { jwks: { keys: JWK } }, /jwks/],
  ['has keys that are none', { jwks: { keys: ['key'] } }, /jwks/],
  ['has a jwks that is none', { jwks: [JWK] }, /jwks/],
  ['has both jwks and jwks_uri', { jwks_uri: 'https://agents.orbit.example/k' }, /either/],
  ['has neither of them', { jwks: undefined }, /either/],
  [
    'has its keys at http',
    { jwks: undefined, jwks_uri: 'http://agents.orbit.example/k' },
    /jwks_uri/,
  ],
  ['has its keys at a number', { jwks: undefined, jwks_uri: 1 }, /jwks_uri/],
  ['declares id-jag without jwt-bearer (DS-48)', { grant_types: [GRANT.tokenExchange] }, /id-jag/],
  ['declares id-jag without exchange (DS-48)', { grant_types: [JWT_BEARER_GRANT] }, /id-jag/],
  ['declares id-jag and no grants (DS-48)', { grant_types: undefined }, /id-jag/],
  [
    'has no grant of ours',
    { grant_types: [JWT_BEARER_GRANT], authorization_grant_profiles_supported: undefined },
    /grant_types/,
  ],
  ['has grants that are no list', { grant_types: GRANT.tokenExchange }, /grant_types/],
  ['has profiles that are no texts', { authorization_grant_profiles_supported: [1] }, /profiles/],
  ['returns to http', { redirect_uris: ['http://agents.orbit.example/cb'] }, /redirect_uris/],
  [
    'returns to a fragment',
    { redirect_uris: ['https://agents.orbit.example/cb#a'] },
    /redirect_uris/,
  ],
  ['returns to a script', { redirect_uris: ['javascript:alert(1)'] }, /redirect_uris/],
  ['returns to numbers', { redirect_uris: [1] }, /redirect_uris/],
  [
    'returns to more addresses than twenty',
    { redirect_uris: Array.from({ length: 21 }, (_, n) => `https://a.example/${n}`) },
    /redirect_uris/,
  ],
  [
    'returns too far',
    { redirect_uris: [`https://a.example/${'a'.repeat(2048)}`] },
    /redirect_uris/,
  ],
  ['has a name that is none', { client_name: ' ' }, /client_name/],
  ['has a name of two lines', { client_name: 'a\nb' }, /client_name/],
  ['has a name that turns the text', { client_name: 'a\u202eb' }, /client_name/],
  ['has too long a name', { client_name: 'a'.repeat(201) }, /client_name/],
  ['has a number for a name', { client_name: 1 }, /client_name/],
  ['wants ID tokens without signature', { id_token_signed_response_alg: 'none' }, /alg/],
  [
    'wants ID tokens by a secret',
    { id_token_signed_response_alg: 'HS256' },
    /alg is none of ES256/,
  ],
  ['wants ID tokens by no algorithm', { id_token_signed_response_alg: null }, /alg/],
  ['wants ID tokens by several algorithms', { id_token_signed_response_alg: ['RS256'] }, /alg/],
  ['is bound to keys perhaps', { dpop_bound_access_tokens: 'yes' }, /dpop_bound/],
]
for (const [why, members, fault] of FAULTS) {
  test(`a document that ${why} does not count`, () => {
    assert.match(faultOf(members), fault)
  })
}

test('words of a document never come back in its fault (DR-36)', () => {
  const marker = 'c4nary'
  const texts = fc.constantFrom<unknown>(
    marker,
    [marker],
    { [marker]: marker },
    `https://${marker}/`,
  )
  const document = fc.record(
    Object.fromEntries(
      Object.keys(GOOD)
        .concat('jwks_uri')
        .map((name) => [name, texts]),
    ),
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(document, (members) => {
      const found = readClientMetadata({ ...WITHOUT_KEYS, ...members }, URL_, false)
      if ('fault' in found) assert.ok(!found.fault.includes(marker), found.fault)
    }),
  )
})

test('whatever a document holds, it is read or refused, and what is read is bounded', () => {
  const anything = fc.dictionary(fc.constantFrom(...Object.keys(GOOD), 'jwks_uri'), fc.jsonValue())
  fc.assert(
    fc.property(anything, (members) => {
      const found = readClientMetadata({ ...GOOD, ...members }, URL_, false)
      if ('fault' in found) return
      const { metadata } = found
      assert.ok(metadata.grant_types.length > 0)
      assert.ok(metadata.redirect_uris.length <= 20)
      assert.equal(
        metadata.token_endpoint_auth_method === 'private_key_jwt',
        (metadata.jwks === undefined) !== (metadata.jwks_uri === undefined),
      )
    }),
  )
})

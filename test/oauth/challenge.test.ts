import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { metadataUrlOf, parseChallenges } from '../../src/oauth/challenge.ts'

const read = (value: string) =>
  parseChallenges(value).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])
const URL = 'https://api.chat.example/.well-known/oauth-protected-resource'

test('challenges are read as RFC 9110 §11.6.1 writes them', () => {
  assert.deepEqual(read('Bearer'), [['bearer', {}]])
  assert.deepEqual(read('Basic realm="simple"'), [['basic', { realm: 'simple' }]])
  assert.deepEqual(read('Negotiate YII+/x==, Bearer error=invalid_token'), [
    ['negotiate', {}],
    ['bearer', { error: 'invalid_token' }],
  ])
  assert.deepEqual(
    read('Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="a, b"'),
    [
      ['newauth', { realm: 'apps', type: '1', title: 'Login to "apps"' }],
      ['basic', { realm: 'a, b' }],
    ],
  )
  assert.deepEqual(read(' ,, Bearer ,\tDPoP  algs = "ES256" , , scope\t=\tx,'), [
    ['bearer', {}],
    ['dpop', { algs: 'ES256', scope: 'x' }],
  ])
})

const FOUND = [
  `Bearer resource_metadata="${URL}"`,
  `bEARER Resource_Metadata="${URL}"`,
  `DPoP algs="ES256 RS256", resource_metadata="${URL}"`,
  `Basic realm="Bearer resource_metadata=x", Bearer error="invalid_token", resource_metadata="${URL}"`,
  `Negotiate, Basic YQ==, DPOP resource_metadata = "${URL}" , Bearer resource_metadata="https://other.example/"`,
  `Bearer realm="a\\"b", resource_metadata="${URL.replaceAll('/', '\\/')}"`,
]
for (const value of FOUND) {
  test(`resource_metadata is found in ${value} (DR-01)`, () =>
    assert.equal(metadataUrlOf(value), URL))
}

const NOT_FOUND = [
  undefined,
  '',
  'Bearer',
  `Basic resource_metadata="${URL}"`,
  `resource_metadata="${URL}"`,
  `Bearer realm="resource_metadata=${URL}"`,
  `Bearer resource_metadata="${URL}", resource_metadata="https://other.example/"`,
  `Bearer resource_metadata="${URL}`,
  `Bearer resource_metadata=${URL}`,
  `Bearer x y z, resource_metadata="${URL}"`,
  `Bearer resource_metadata="${URL}"x`,
]
for (const value of NOT_FOUND) {
  test(`no resource_metadata is found in ${value} (DR-01)`, () =>
    assert.equal(metadataUrlOf(value), undefined))
}

const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const token = fc.stringMatching(TOKEN)
const text = fc.stringMatching(/^[\t\x20-\x7e]*$/)

test('what is written is read again, however it is quoted', () => {
  const challenge = fc.record({
    scheme: token,
    params: fc.uniqueArray(fc.tuple(token, text), { selector: ([name]) => name.toLowerCase() }),
  })
  fc.assert(
    fc.property(fc.array(challenge), fc.boolean(), (challenges, sparing) => {
      const value = (given: string) => (sparing && TOKEN.test(given) ? given : quote(given))
      const written = challenges.map(({ scheme, params }) =>
        `${scheme} ${params.map(([name, given]) => `${name}=${value(given)}`).join(', ')}`.trim(),
      )
      assert.deepEqual(
        parseChallenges(written.join(', ')).map(({ scheme, params }) => [scheme, [...params]]),
        challenges.map(({ scheme, params }) => [
          scheme.toLowerCase(),
          params.map(([name, given]) => [name.toLowerCase(), given]),
        ]),
      )
    }),
  )
})

test('whatever a header holds, it is read, and no challenge has a parameter twice', () => {
  const piece = fc.constantFrom(
    'Bearer',
    ' ',
    ',',
    '"',
    '\\',
    '=',
    'a',
    'resource_metadata',
    '\t',
    'é',
  )
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 40 }).map((parts) => parts.join('')),
      (value) => {
        for (const { scheme } of parseChallenges(value)) assert.match(scheme, TOKEN)
      },
    ),
  )
  assert.deepEqual(parseChallenges(`Bearer ${'a="'.repeat(5_000)}`), [])
  assert.equal(parseChallenges('a,'.repeat(8_000)).length, 8_000)
})

import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify, SignJWT } from 'jose'
import {
  type DpopExpected,
  type DpopFault,
  readDpopProof,
  verifyDpopProof,
} from '../../src/oauth/dpop.ts'
import type { VerificationAlg } from '../../src/oauth/jws.ts'

type Members = Record<string, unknown>

const keys = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  EdDSA: generateKeyPairSync('ed25519'),
}
const ALGS = Object.keys(keys) as VerificationAlg[]

const URL_HERE = 'https://id.orbit.example/oauth2/token'
const NOW = 1_795_276_800
const at = (seconds: number) => new Date(seconds * 1000)
const expected: DpopExpected = { method: 'POST', url: URL_HERE, now: at(NOW) }
const CLAIMS = { jti: 'b2Zt0m3nJ8yQx6u1', htm: 'POST', htu: URL_HERE, iat: NOW }

const publicJwk = (key: KeyObject): Members => ({ ...key.export({ format: 'jwk' }) })

/** A truly signed proof of any header and payload. A member that is undefined is left out. */
function proofOf(claims: Members = {}, header: Members = {}, alg: VerificationAlg = 'EdDSA') {
  const { publicKey, privateKey: key } = keys[alg]
  const head = { typ: 'dpop+jwt', alg, jwk: publicJwk(publicKey), ...header }
  const input = [head, { ...CLAIMS, ...claims }]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signed = sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), {
    key,
    dsaEncoding: 'ieee-p1363',
  })
  return `${input}.${signed.toString('base64url')}`
}

function judge(header: string | string[] | undefined, wanted: Partial<DpopExpected> = {}) {
  const jws = readDpopProof(header)
  assert.ok(jws !== undefined)
  return 'refused' in jws ? jws : verifyDpopProof(jws, { ...expected, ...wanted })
}

function accepted(header: string, wanted: Partial<DpopExpected> = {}) {
  const proof = judge(header, wanted)
  assert.ok(!('refused' in proof), `refused: ${'refused' in proof && proof.refused}`)
  return proof
}

function refused(fault: DpopFault, header: string | string[], wanted: Partial<DpopExpected> = {}) {
  assert.deepEqual(judge(header, wanted), { refused: fault })
}

test('a proof tells the thumbprint of its key, of each kind (TV-76, DP-02)', async () => {
  for (const alg of ALGS) {
    const jwk = publicJwk(keys[alg].publicKey)
    const made = await new SignJWT(CLAIMS)
      .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk })
      .sign(keys[alg].privateKey)
    const proof = accepted(made)
    assert.equal(proof.jkt, await calculateJwkThumbprint(jwk))
    assert.equal(proof.jti, CLAIMS.jti)
    assert.equal(proof.iat, NOW)
    assert.equal(proof.nonce, undefined)
    // What this file signs by itself is what the library takes for a proof too.
    await jwtVerify(proofOf({}, {}, alg), EmbeddedJWK, { typ: 'dpop+jwt', currentDate: at(NOW) })
  }
})

test('the thumbprint is that of the required members alone (RFC 7638)', async () => {
  for (const alg of ALGS) {
    const jwk = publicJwk(keys[alg].publicKey)
    const shuffled = Object.fromEntries(Object.entries(jwk).reverse())
    const more = { ...shuffled, kid: 'mine', use: 'sig', alg, key_ops: ['verify'], ext: true }
    assert.equal(accepted(proofOf({}, { jwk: more }, alg)).jkt, await calculateJwkThumbprint(jwk))
  }
  const example = {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
    d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI',
  }
  const { d, ...shared } = example
  const proof = await new SignJWT(CLAIMS)
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: shared })
    .sign({ ...example, alg: 'ES256' })
  assert.equal(accepted(proof).jkt, 'oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U')
})

test('no header is no proof; an empty one is a bad one (DP-01)', () => {
  assert.equal(readDpopProof(undefined), undefined)
  refused('malformed_proof', '')
  refused('malformed_proof', [])
})

test('refuses two headers, as Node gives them (TV-77, DP-01)', async (t) => {
  const server = createServer((asked, answer) => answer.end(JSON.stringify(asked.headers.dpop)))
  t.after(() => server.close())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const seen = async (dpop: string[]): Promise<string> => {
    const asking = request({ port, host: '127.0.0.1', headers: { dpop }, agent: false }).end()
    const [answer] = await once(asking, 'response')
    return JSON.parse((await answer.toArray()).join(''))
  }
  const [one, other] = [proofOf(), proofOf({ jti: 'another' })]
  accepted(await seen([one]))
  refused('several_proofs', await seen([one, other]))
  refused('several_proofs', await seen([one, one]))
  refused('several_proofs', await seen([one, '']))
  refused('several_proofs', [one, other])
})

test('refuses what is no compact JWS of JSON objects, and what it would have to understand (DP-01, SE-15)', () => {
  const [header, payload, signature] = proofOf().split('.') as [string, string, string]
  for (const text of [
    'x',
    'a.b.c',
    header,
    `${header}.${payload}`,
    `${header}.${payload}.${signature}.`,
    `${header}.${payload}.${signature}=`,
    `${header}..${signature}`,
    `DPoP ${header}.${payload}.${signature}`,
    proofOf({ pad: 'x'.repeat(13_000) }),
    proofOf({}, { crit: ['htm'] }),
    proofOf({}, { b64: false }),
    proofOf({}, { zip: 'DEF' }),
  ]) {
    refused('malformed_proof', text)
  }
})

const REFUSED: [what: string, fault: DpopFault, claims: Members, header?: Members][] = [
  ['htm GET (TV-77, DP-03)', 'wrong_method', { htm: 'GET' }],
  ['htm in lower case (DP-03)', 'wrong_method', { htm: 'post' }],
  ['no htm (DP-03)', 'wrong_method', { htm: undefined }],
  ['htm in a list (DP-03)', 'wrong_method', { htm: ['POST'] }],
  ['the htu of another server (TV-77, DP-03)', 'wrong_url', { htu: 'https://as.example/token' }],
  ['the htu of another endpoint here (DP-03)', 'wrong_url', { htu: `${URL_HERE}/x` }],
  ['no htu (DP-03)', 'wrong_url', { htu: undefined }],
  ['htu in a list (DP-03)', 'wrong_url', { htu: [URL_HERE] }],
  ['an empty htu (DP-03)', 'wrong_url', { htu: '' }],
  ['a relative htu (DP-03)', 'wrong_url', { htu: '/oauth2/token' }],
  ['iat 300 s ago (TV-77, DP-04)', 'wrong_time', { iat: NOW - 300 }],
  ['iat 61 s ago (DP-04)', 'wrong_time', { iat: NOW - 61 }],
  ['iat 61 s ahead (DP-04)', 'wrong_time', { iat: NOW + 61 }],
  ['no iat (DP-04)', 'wrong_time', { iat: undefined }],
  ['iat as text (DP-04)', 'wrong_time', { iat: String(NOW) }],
  ['iat in milliseconds (DP-04)', 'wrong_time', { iat: NOW * 1000 }],
  ['no jti (DP-05)', 'bad_jti', { jti: undefined }],
  ['an empty jti (DP-05)', 'bad_jti', { jti: '' }],
  ['jti as a number (DP-05)', 'bad_jti', { jti: 1 }],
  ['a jti of 513 characters (DP-05)', 'bad_jti', { jti: 'x'.repeat(513) }],
  ['a nonce that is no text', 'malformed_proof', { nonce: 1 }],
  ['no typ (DP-02)', 'wrong_typ', {}, { typ: undefined }],
  ['typ JWT (DP-02)', 'wrong_typ', {}, { typ: 'JWT' }],
  ['the typ of a client assertion (DP-02)', 'wrong_typ', {}, { typ: 'client-authentication+jwt' }],
  ['typ in capitals (DP-02)', 'wrong_typ', {}, { typ: 'DPOP+JWT' }],
  ['alg HS256 (TV-77, DP-02)', 'wrong_alg', {}, { alg: 'HS256' }],
  ['alg none (DP-02)', 'wrong_alg', {}, { alg: 'none' }],
  ['alg PS256 (DP-02)', 'wrong_alg', {}, { alg: 'PS256' }],
  ['alg toString (DP-02)', 'wrong_alg', {}, { alg: 'toString' }],
  ['an alg that its key does not go with (DP-02)', 'unusable_key', {}, { alg: 'ES256' }],
  ['no jwk (DP-02)', 'unusable_key', {}, { jwk: undefined }],
  ['a kid instead of a jwk (DP-02)', 'unusable_key', {}, { jwk: undefined, kid: 'k' }],
  ['a jwk that is a text (DP-02)', 'unusable_key', {}, { jwk: JSON.stringify({ kty: 'OKP' }) }],
  ['a jwk that is a list (DP-02)', 'unusable_key', {}, { jwk: [publicJwk(keys.EdDSA.publicKey)] }],
  ['an empty jwk (DP-02)', 'unusable_key', {}, { jwk: {} }],
]
for (const [what, fault, claims, header] of REFUSED) {
  test(`refuses ${what}`, () => refused(fault, proofOf(claims, header)))
}

test('iat may be a minute off either way, and fractional (DP-04)', () => {
  for (const iat of [NOW - 60, NOW + 60, NOW - 0.5])
    assert.equal(accepted(proofOf({ iat })).iat, iat)
  refused('wrong_time', proofOf({ iat: NOW - 60.5 }))
  accepted(proofOf({ jti: 'x'.repeat(512) }))
})

test('refuses a private key, whatever member gives it away (TV-77, DP-02)', () => {
  for (const alg of ALGS) {
    refused('private_key', proofOf({}, { jwk: publicJwk(keys[alg].privateKey) }, alg))
  }
  const jwk = publicJwk(keys.EdDSA.publicKey)
  for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
    refused('private_key', proofOf({}, { jwk: { ...jwk, [member]: null } }))
  }
  refused('private_key', proofOf({}, { jwk: { kty: 'oct', k: 'c2VjcmV0' } }))
})

test('refuses a signature of another key than the one inside, also of one that is known (DP-02)', () => {
  const other = generateKeyPairSync('ed25519').publicKey
  refused('bad_signature', proofOf({}, { jwk: publicJwk(other) }))
  const strangers = proofOf({}, { jwk: publicJwk(keys.ES256.publicKey), alg: 'ES256' }, 'EdDSA')
  refused('bad_signature', strangers)
  accepted(proofOf({}, {}, 'ES256'))
  refused('bad_signature', strangers)
})

test('a key that was taken once is judged anew for the next proof (DP-02)', () => {
  accepted(proofOf())
  const jwk = publicJwk(keys.EdDSA.publicKey)
  refused('private_key', proofOf({}, { jwk: { ...jwk, d: 'x' } }))
  refused('unusable_key', proofOf({}, { jwk: { ...jwk, use: 'enc' } }))
  refused('unusable_key', proofOf({}, { jwk, alg: 'RS256' }))
  refused('unusable_key', proofOf({}, { jwk: { ...jwk, alg: 'ES256' } }))
  accepted(proofOf({}, { jwk: { ...jwk, alg: 'Ed25519' } }))
})

const RSA = publicJwk(keys.RS256.publicKey)
const EC = publicJwk(keys.ES256.publicKey)
const modulus = (bits: number) => Buffer.alloc(bits / 8, 0xff).toString('base64url')
const kind = (name: 'P-384' | 'secp256k1') =>
  publicJwk(generateKeyPairSync('ec', { namedCurve: name }).publicKey)
const UNUSABLE: [what: string, alg: VerificationAlg, jwk: Members][] = [
  ['RSA of 1024 bits', 'RS256', { ...RSA, n: modulus(1024) }],
  ['RSA of 4104 bits', 'RS256', { ...RSA, n: modulus(4104) }],
  ['RSA with the exponent 1', 'RS256', { ...RSA, e: 'AQ' }],
  ['RSA with an even exponent', 'RS256', { ...RSA, e: 'AQAA' }],
  ['RSA with an exponent as long as the modulus', 'RS256', { ...RSA, e: modulus(2048) }],
  ['RSA without a modulus', 'RS256', { kty: 'RSA', e: 'AQAB' }],
  ['P-384', 'ES256', kind('P-384')],
  ['secp256k1', 'ES256', kind('secp256k1')],
  ['X25519', 'EdDSA', publicJwk(generateKeyPairSync('x25519').publicKey)],
  ['a point off the curve', 'ES256', { ...EC, y: EC.x }],
  ['no y', 'ES256', { ...EC, y: undefined }],
  ['kty in a list', 'ES256', { ...EC, kty: ['EC'] }],
  ['kty in lower case', 'ES256', { ...EC, kty: 'ec' }],
  ['kty __proto__', 'ES256', { ...EC, kty: '__proto__' }],
  ['x that is no text', 'ES256', { ...EC, x: [EC.x] }],
  ['a symmetric kind', 'ES256', { kty: 'oct' }],
]
for (const [what, alg, jwk] of UNUSABLE) {
  test(`refuses a key with ${what} (DP-02)`, () =>
    refused('unusable_key', proofOf({}, { jwk }, alg)))
}

test('an RSA key of 4096 bits is the largest that is tried (DP-02)', () => {
  refused('bad_signature', proofOf({}, { jwk: { ...RSA, n: modulus(4096) } }, 'RS256'))
})

test('a key has one way to be written, so that it has one thumbprint (DP-02)', () => {
  const padded = Buffer.concat([Buffer.alloc(1), Buffer.from(String(RSA.n), 'base64url')])
  refused(
    'unusable_key',
    proofOf({}, { jwk: { ...RSA, n: padded.toString('base64url') } }, 'RS256'),
  )
  for (const loose of [`${EC.x}=`, ` ${EC.x}`, `${EC.x}\n`, String(EC.x).replace(/.$/, '.')]) {
    refused('unusable_key', proofOf({}, { jwk: { ...EC, x: loose } }, 'ES256'))
  }
})

test('a proof for an access token names it by its hash (DP-11)', () => {
  const accessToken = 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU'
  const ath = createHash('sha256').update(accessToken).digest('base64url')
  assert.equal(ath, 'fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo')
  accepted(proofOf({ ath }), { accessToken })
  accepted(proofOf({ ath }))
  for (const wrong of [undefined, '', `${ath}=`, accessToken, [ath]]) {
    refused('wrong_ath', proofOf({ ath: wrong }), { accessToken })
  }
  refused('wrong_ath', proofOf({ ath }), { accessToken: `${accessToken}x` })
})

test('where nonces are in use the nonce decides how old a proof is, not iat (TV-78, DP-04)', () => {
  const wanted = { isGoodNonce: (nonce: string) => nonce === 'good' }
  assert.equal(accepted(proofOf({ nonce: 'good' }), wanted).nonce, 'good')
  accepted(proofOf({ nonce: 'good', iat: NOW - 86_400 }), wanted)
  refused('nonce_needed', proofOf(), wanted)
  refused('nonce_needed', proofOf({ nonce: 'stale' }), wanted)
  refused('nonce_needed', proofOf({ nonce: '' }), wanted)
  refused('malformed_proof', proofOf({ nonce: ['good'] }), wanted)
  refused('wrong_time', proofOf({ nonce: 'good', iat: 'now' }), wanted)
  // Who signs wrongly is not sent for a nonce.
  const jwk = publicJwk(generateKeyPairSync('ed25519').publicKey)
  refused('bad_signature', proofOf({ nonce: 'stale' }, { jwk }), wanted)
})

test('where they are not, a nonce is told and excuses nothing (DP-04)', () => {
  assert.equal(accepted(proofOf({ nonce: 'any' })).nonce, 'any')
  refused('wrong_time', proofOf({ nonce: 'any', iat: NOW - 61 }))
})

test('the digest is one for each key, endpoint and jti, however the proof is written (DP-05)', () => {
  const first = accepted(proofOf()).digest
  assert.equal(first.length, 32)
  const same = proofOf({ htu: `${URL_HERE}?again`, iat: NOW + 1, more: true }, { kid: 'k' })
  assert.deepEqual(accepted(same).digest, first)
  const userinfo = 'https://id.orbit.example/oauth2/userinfo'
  const others = [
    accepted(proofOf({ jti: 'another' })),
    accepted(proofOf({}, {}, 'ES256')),
    accepted(proofOf({ htu: userinfo }), { url: userinfo }),
  ].map(({ digest }) => digest.toString('hex'))
  assert.equal(new Set([first.toString('hex'), ...others]).size, 4)
})

test('no jti of a client assertion has the digest of a proof, nor the other way round (DP-05)', () => {
  const { jkt, jti, digest } = accepted(proofOf())
  for (const id of ['agt_1', URL_HERE]) {
    for (const said of [
      jti,
      `${URL_HERE}\n${jkt}\n${jti}`,
      `dpop-proof\n${URL_HERE}\n${jkt}\n${jti}`,
    ]) {
      assert.notDeepEqual(createHash('sha256').update(`${id}\n${said}`).digest(), digest)
    }
  }
})

test('a proof is remembered until no clock can take it for fresh any more (DP-05)', () => {
  const skew = 60
  for (const iat of [NOW - 60, NOW, NOW + 60, NOW + 0.5]) {
    const { expires_at } = accepted(proofOf({ iat }))
    const lastTaken = iat + 60
    refused('wrong_time', proofOf({ iat }), { now: at(lastTaken + 0.001) })
    assert.ok(expires_at.getTime() / 1000 >= lastTaken + skew)
  }
  const isGoodNonce = () => true
  for (const iat of [NOW, -1e300, 1e300]) {
    const { expires_at } = accepted(proofOf({ nonce: 'n', iat }), { isGoodNonce })
    assert.deepEqual(expires_at, at(NOW + 300 + 2 * skew))
  }
})

test('htu may be written in any way that is the same after normalisation (TV-79, DP-03)', () => {
  for (const htu of [
    `${URL_HERE}?x=1`,
    `${URL_HERE}#x`,
    `${URL_HERE}?x=1#y?z`,
    'https://id.orbit.example:443/oauth2/token',
    'https://id.orbit.example:/oauth2/token',
    'HTTPS://ID.Orbit.EXAMPLE/oauth2/token',
    'https://id.orbit.example/oauth2/%74oke%6E',
    'https://id.orbit.example/./x/../oauth2/token',
  ]) {
    accepted(proofOf({ htu }))
  }
  const loopback = 'http://localhost:4000/oauth2/token'
  accepted(proofOf({ htu: loopback }), { url: loopback })
  accepted(proofOf({ htu: 'HTTP://LOCALHOST:4000/oauth2/token?x' }), { url: loopback })
  refused('wrong_url', proofOf({ htu: loopback.replace('4000', '4001') }), { url: loopback })
  refused('wrong_url', proofOf({ htu: loopback.replace('http', 'https') }), { url: loopback })
})

test('what a URL parser would have to repair is not the same (DP-03)', () => {
  for (const htu of [
    ` ${URL_HERE}`,
    `${URL_HERE} `,
    `${URL_HERE}\n`,
    URL_HERE.replace('//', ''),
    URL_HERE.replace('//', '///'),
    URL_HERE.replaceAll('/', '\\'),
    URL_HERE.replace('//', '//@'),
    URL_HERE.replace('//', '//user@'),
    URL_HERE.replace('token', 'to\tken'),
    URL_HERE.replace('token', '%7token'),
    URL_HERE.replace('id.', 'ｉd.'),
    URL_HERE.replace('https', 'http'),
    URL_HERE.replace('https', 'HTTPS:https'),
    `view-source:${URL_HERE}`,
  ]) {
    refused('wrong_url', proofOf({ htu }))
  }
})

/** RFC 3986 as it stands: taken apart by appendix B, normalised by §6.2.2 and §6.2.3. */
function byTheBook(uri: string): string | undefined {
  const [, scheme = '', authority = '', path = ''] =
    /^(?:([^:/?#]+):)?(?:\/\/([^/?#]*))?([^?#]*)/.exec(uri) ?? []
  const unreserved = (text: string) =>
    text.replace(/%([0-9A-Fa-f]{2})/g, (encoded, hex) => {
      const char = String.fromCharCode(Number.parseInt(hex, 16))
      return /[\w.~-]/.test(char) ? char : encoded.toUpperCase()
    })
  const host = unreserved(authority)
    .toLowerCase()
    .replace(/:(443)?$/, '')
  const kept: string[] = []
  for (const [index, segment] of unreserved(path).split('/').slice(1).entries()) {
    const last = index === path.split('/').length - 2
    if (segment === '..') kept.pop()
    if (segment !== '.' && segment !== '..') kept.push(segment)
    else if (last) kept.push('')
  }
  return `${scheme.toLowerCase()}://${host}/${kept.join('/')}`
}

test('of all the ways to write an htu only those pass that are equal by the book (DP-03)', () => {
  const segment = fc.constantFrom('oauth2', 'token', '.', '..', '%2e', '%2E%2e', '', 'x')
  const spelled = (name: string) =>
    fc.constantFrom(
      name,
      name,
      name,
      name.toUpperCase(),
      `%${name.charCodeAt(0).toString(16)}${name.slice(1)}`,
    )
  const path = fc
    .tuple(
      fc.array(segment, { maxLength: 3 }),
      fc.constantFrom('..', '.', 'x/..', ''),
      spelled('oauth2'),
      fc.constantFrom('', './', 'x/../', '/', '../oauth2/'),
      spelled('token'),
      fc.constantFrom('', '', '', '', '/', '/.', 'x', '%20'),
    )
    .map(([before, way, first, between, second, after]) =>
      ['', ...before, way, `${first}/${between}${second}${after}`].join('/'),
    )
  const htu = fc
    .record({
      scheme: fc.constantFrom('https', 'https', 'HTTPS', 'http'),
      host: fc.constantFrom(
        'id.orbit.example',
        'ID.orbit.Example',
        'i%64.orbit.example',
        'orbit.example',
      ),
      port: fc.constantFrom('', '', ':443', ':', ':80', ':8443'),
      path: fc.oneof(path, fc.constant('/oauth2/token')),
      suffix: fc.constantFrom('', '?x=1', '?', '#y', '?https://as.example/../x#z'),
    })
    .map(({ scheme, host, port, path, suffix }) => `${scheme}://${host}${port}${path}${suffix}`)
  const seen = { equal: 0, different: 0 }
  fc.assert(
    fc.property(fc.oneof({ weight: 9, arbitrary: htu }, fc.webUrl()), (htu) => {
      const equal = byTheBook(htu) === URL_HERE
      seen[equal ? 'equal' : 'different']++
      assert.equal(!('refused' in judge(proofOf({ htu }))), equal, htu)
    }),
    { numRuns: 2_000 },
  )
  assert.ok(seen.equal > 100 && seen.different > 100, JSON.stringify(seen))
})

test('a proof changed in any one character is refused (DP-01, DP-02)', () => {
  const proofs = ALGS.map((alg) => proofOf({}, {}, alg))
  for (const proof of proofs) accepted(proof)
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.,~ \n'
  fc.assert(
    fc.property(
      fc.constantFrom(...proofs),
      fc.nat(),
      fc.constantFrom(...ALPHABET, ''),
      fc.boolean(),
      (proof, place, char, inserted) => {
        const index = place % proof.length
        const changed = proof.slice(0, index) + char + proof.slice(inserted ? index : index + 1)
        fc.pre(changed !== proof)
        assert.ok('refused' in judge(changed), changed)
      },
    ),
    { numRuns: 3_000 },
  )
})

test('whatever stands in header and payload is judged, never thrown', () => {
  const anything = fc.dictionary(
    fc.constantFrom(
      ...'typ alg jwk kid jti htm htu iat nonce ath __proto__ kty crv x y n e'.split(' '),
    ),
    fc.oneof(fc.jsonValue(), fc.constantFrom('EC', 'P-256', 'RSA', 'OKP', 'Ed25519', 'AQAB')),
  )
  fc.assert(
    fc.property(anything, anything, anything, (claims, header, jwk) => {
      for (const alg of ALGS) {
        const mixed = { ...publicJwk(keys[alg].publicKey), ...jwk }
        for (const proof of [
          proofOf(claims, {}, alg),
          proofOf({}, header, alg),
          proofOf({}, { jwk: mixed }, alg),
        ]) {
          judge(proof)
        }
      }
    }),
    { numRuns: 150 },
  )
})

test('more keys than are remembered change nothing but the time it takes', () => {
  const first = proofOf()
  const { jkt } = accepted(first)
  for (let i = 0; i < 5_100; i++) {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const header = { typ: 'dpop+jwt', alg: 'EdDSA', jwk: publicJwk(publicKey) }
    const input = [header, CLAIMS]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    accepted(`${input}.${sign(null, Buffer.from(input), privateKey).toString('base64url')}`)
  }
  assert.equal(accepted(first).jkt, jkt)
})

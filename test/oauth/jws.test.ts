import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { CompactSign, compactVerify } from 'jose'
import { decodeJws, isKeyFor, signJws, verifyJws } from '../../src/oauth/jws.ts'
import { SIGNING_ALGS, type SigningAlg } from '../../src/oauth/signing-alg.ts'
import { type Keys, makeKeys, otherSignature } from './jws-keys.ts'

// jose is the witness: for every token both must say the same, except where this file says that we are
// stricter on purpose.

const keys: Keys = makeKeys()
const ALGS = SIGNING_ALGS
const claims = { sub: 'usr_1', aud: 'https://as.example', note: 'Grüße, 世界 🎈', iat: 1795276800 }
/** The orders of the curves. */
const ECDSA = {
  ES256: { size: 32, n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n },
  ES384: {
    size: 48,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
}
const CURVED = ['ES256', 'ES384'] as const

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A token of any header and payload, truly signed: what a hostile holder of the key could make. */
function forge(alg: SigningAlg, header: unknown, payload: unknown = claims): string {
  const input = `${encode(header)}.${encode(payload)}`
  const signature = otherSignature(alg, input, keys[alg].privateKey)
  return `${input}.${signature.toString('base64url')}`
}

function ours(token: string, alg: SigningAlg, key: KeyObject = keys[alg].publicKey): boolean {
  const decoded = decodeJws(token)
  return decoded !== undefined && verifyJws(decoded, alg, key)
}

async function joses(token: string, alg: SigningAlg, key: KeyObject = keys[alg].publicKey) {
  try {
    const { payload } = await compactVerify(token, key, { algorithms: [alg] })
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

async function bothRefuse(token: string, alg: SigningAlg = 'ES256', what = token) {
  assert.equal(await joses(token, alg), false, `jose accepts ${what}`)
  assert.equal(ours(token, alg), false, `we accept ${what}`)
}

async function weAreStricter(token: string, what: string, alg: SigningAlg = 'ES256') {
  assert.equal(await joses(token, alg), true, `jose refuses ${what} too: move it`)
  assert.equal(ours(token, alg), false, `we accept ${what}`)
}

/** The token with its signature's bytes changed. */
function resigned(token: string, change: (signature: Buffer) => Uint8Array): string {
  const end = token.lastIndexOf('.') + 1
  const signature = Buffer.from(token.slice(end), 'base64url')
  return token.slice(0, end) + Buffer.from(change(signature)).toString('base64url')
}

const isRsa = (alg: SigningAlg) => alg === 'RS256' || alg === 'PS256'
const bigint = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`)
const scalar = (value: bigint, size: number) =>
  Buffer.from(value.toString(16).padStart(2 * size, '0'), 'hex')

test('what jose signs we read, and what we sign jose reads', async () => {
  for (const alg of ALGS) {
    const jws = await new CompactSign(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader({ alg, typ: 'JWT', kid: 'k' })
      .sign(keys[alg].privateKey)
    const decoded = decodeJws(jws)
    assert.ok(decoded)
    assert.deepEqual(decoded.header, { alg, typ: 'JWT', kid: 'k' })
    assert.deepEqual(decoded.payload, claims)
    assert.equal(verifyJws(decoded, alg, keys[alg].publicKey), true)
  }
  for (const alg of ALGS) {
    const jws = signJws({ typ: 'JWT', kid: 'k', alg: 'none' }, claims, alg, keys[alg].privateKey)
    const { payload, protectedHeader } = await compactVerify(jws, keys[alg].publicKey)
    assert.deepEqual(protectedHeader, { typ: 'JWT', kid: 'k', alg })
    assert.deepEqual(JSON.parse(new TextDecoder().decode(payload)), claims)
  }
})

test('reads and verifies the example of the protocol reference (TV-01, TV-05)', () => {
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  }
  const token =
    'eyJhbGciOiJFUzI1NiIsInR5cCI6Im9hdXRoLWlkLWphZytqd3QiLCJraWQiOiJvS0l5d3ZHVXBUVlR5eE1RM2J3SUllUVV1ZGZyX0NrTE1qQ0UxOUVDRC1VIn0.eyJpc3MiOiJodHRwczovL2lkLm9yYml0LmV4YW1wbGUiLCJzdWIiOiJwXzRrRDkiLCJhdWQiOiJodHRwczovL2F1dGgucGFwZXJjbGlwLmV4YW1wbGUiLCJjbGllbnRfaWQiOiJodHRwczovL2lkLm9yYml0LmV4YW1wbGUvYWdlbnQtcHJvdmlkZXIuanNvbiIsImp0aSI6ImIyWnQwbTNuSjh5UXg2dTFyQzVhR1EiLCJpYXQiOjE3OTUyNzY4MDAsImV4cCI6MTc5NTI3NzEwMCwiYXV0aF90aW1lIjoxNzk1Mjc1MDAwLCJhbXIiOlsicHdkIiwib3RwIl0sImVtYWlsIjoia2ltQG9yYml0LmV4YW1wbGUiLCJlbWFpbF92ZXJpZmllZCI6dHJ1ZX0.SLdBIEPnMur6B4y2_dITZzgr7WdpveB8yZ5qD7fgb1_WtkR81PFLysqTRZ927NpTLSqhyIh843kp3hmmRVpU8Q'
  const decoded = decodeJws(token)
  assert.ok(decoded)
  assert.equal(decoded.header.typ, 'oauth-id-jag+jwt')
  assert.equal(decoded.payload.aud, 'https://auth.paperclip.example')
  assert.ok(verifyJws(decoded, 'ES256', createPublicKey({ key: jwk, format: 'jwk' })))
})

test('every ECDSA signature survives the way from DER to raw and back', async () => {
  // One in 128 has an r or s that begins with a zero byte.
  for (const alg of CURVED) {
    const { size } = ECDSA[alg]
    for (let i = 0; i < 400; i++) {
      const jws = signJws({ typ: 'JWT' }, { i }, alg, keys[alg].privateKey)
      const tail = jws.slice(jws.lastIndexOf('.') + 1)
      assert.equal(tail.length, Math.ceil((2 * size * 4) / 3))
      assert.ok(ours(jws, alg))
      if (Buffer.from(tail, 'base64url').some((byte, at) => at % size === 0 && byte === 0)) {
        assert.ok(await joses(jws, alg))
      }
    }
  }
})

for (const alg of CURVED) {
  const { size, n } = ECDSA[alg]
  const halves = (signature: Buffer) =>
    [signature.subarray(0, size), signature.subarray(size)] as const
  const join = (r: Buffer, s: Buffer) => Buffer.concat([r, s])

  test(`an ${alg} signature has ${2 * size} bytes and scalars within the curve`, async () => {
    const token = forge(alg, { alg })
    const zero = Buffer.alloc(size)
    const changes: Record<string, (signature: Buffer) => Uint8Array> = {
      'no byte': () => Buffer.alloc(0),
      'one byte': () => Buffer.alloc(1),
      'one byte less in front': (signature) => signature.subarray(1),
      'one byte less at the end': (signature) => signature.subarray(0, -1),
      'one byte less of each': (signature) => join(zero, signature).subarray(size + 1, -1),
      'one byte more': (signature) => join(signature, Buffer.alloc(1)),
      'one byte more, zero first': (signature) => join(Buffer.alloc(1), signature),
      'as long as of the other curve': (signature) =>
        size === 48 ? signature.subarray(0, 64) : join(signature, zero),
      'twice as long': (signature) => join(signature, signature),
      'r and s zero': () => Buffer.alloc(2 * size),
      'r zero': (signature) => join(zero, halves(signature)[1]),
      's zero': (signature) => join(halves(signature)[0], zero),
      'r = n': (signature) => join(scalar(n, size), halves(signature)[1]),
      's = n': (signature) => join(halves(signature)[0], scalar(n, size)),
      'all ones': () => Buffer.alloc(2 * size, 0xff),
      swapped: (signature) => join(halves(signature)[1], halves(signature)[0]),
      "s negated in two's complement": (signature) =>
        join(
          halves(signature)[0],
          scalar((1n << BigInt(8 * size)) - bigint(halves(signature)[1]), size),
        ),
      DER: () => {
        const input = Buffer.from(token.slice(0, token.lastIndexOf('.')))
        return sign(size === 32 ? 'sha256' : 'sha384', input, keys[alg].privateKey)
      },
    }
    for (const [what, change] of Object.entries(changes)) {
      await bothRefuse(resigned(token, change), alg, what)
    }
  })

  test(`the twin of an ${alg} signature (s negated modulo n) is as good as it: both say so`, async () => {
    const token = resigned(forge(alg, { alg }), (signature) =>
      join(halves(signature)[0], scalar(n - bigint(halves(signature)[1]), size)),
    )
    assert.equal(await joses(token, alg), true)
    assert.equal(ours(token, alg), true)
  })
}

test("the algorithm is the key's, never the token's", async () => {
  for (const signed of ALGS) {
    for (const said of [
      ...ALGS,
      'none',
      'None',
      'HS256',
      'es256',
      'ES512',
      'PS384',
      '',
      ' ES256',
    ]) {
      const token = forge(signed, { alg: said })
      for (const expected of ALGS) {
        const verdict = await joses(token, expected)
        assert.equal(ours(token, expected), verdict)
        assert.equal(verdict, signed === said && said === expected)
      }
    }
  }
  for (const alg of [undefined, null, 1, true, ['ES256'], { toString: 'ES256' }]) {
    await bothRefuse(forge('ES256', { alg }))
  }
})

test('a key of another kind verifies nothing, even where the record says so', () => {
  const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' })
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 })
  const ed448 = generateKeyPairSync('ed448')
  const others = [p521, short, pss, ed448, ...Object.values(keys)]
  for (const alg of ALGS) {
    for (const other of others) {
      if (other === keys[alg]) continue
      assert.equal(ours(forge(alg, { alg }), alg, other.publicKey), false)
      const isOfThisKind = isRsa(alg) && (other === keys.RS256 || other === keys.PS256)
      assert.equal(isKeyFor(alg, other.publicKey), isOfThisKind)
      if (!isOfThisKind) {
        assert.throws(() => signJws({}, claims, alg, other.privateKey), TypeError)
      }
    }
    assert.equal(ours(forge(alg, { alg }), alg, keys[alg].privateKey), false)
    assert.throws(() => signJws({}, claims, alg, keys[alg].publicKey), TypeError)
  }
})

test('no signature and a public key used as a secret are refused (IJ-02)', async () => {
  const { publicKey } = keys.RS256
  const secrets = [
    publicKey.export({ type: 'spki', format: 'pem' }),
    publicKey.export({ type: 'spki', format: 'der' }),
    JSON.stringify(publicKey.export({ format: 'jwk' })),
  ]
  for (const secret of secrets) {
    const input = `${encode({ alg: 'HS256' })}.${encode(claims)}`
    const mac = createHmac('sha256', secret).update(input).digest('base64url')
    await bothRefuse(`${input}.${mac}`, 'RS256')
  }
  for (const alg of ALGS) {
    const input = `${encode({ alg })}.${encode(claims)}`
    await bothRefuse(`${input}.`, alg)
    await bothRefuse(`${encode({ alg: 'none' })}.${encode(claims)}.`, alg)
  }
})

test('the form is exactly three parts', async () => {
  const token = forge('ES256', { alg: 'ES256' })
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const malformed = [
    '',
    '.',
    '..',
    '...',
    header,
    `${header}.${payload}`,
    `.${token}`,
    `${token}.`,
    `${token}.${signature}`,
    `${header}..${payload}.${signature}`,
    `${header}..${signature}`,
    `.${payload}.${signature}`,
    `${header}.${payload}..${signature}`,
    `${header},${payload},${signature}`,
    token.replaceAll('.', '\u3002'),
    `Bearer ${token}`,
    JSON.stringify({ protected: header, payload, signature }),
    `\u{feff}${token}`,
    token.replace('.', '\u0000.'),
    token.replace('e', '\u0435'),
    `${token}é`,
  ]
  for (const text of malformed) await bothRefuse(text)
})

test('header and payload are JSON objects in UTF-8', async () => {
  const notObjects = [
    '[]',
    '[{"sub":"usr_1"}]',
    'null',
    '1',
    '"text"',
    '',
    '{',
    '{}{}',
    "{'a':1}",
    '{"a":1,}',
  ]
  for (const text of notObjects) {
    await bothRefuse(forge('ES256', { alg: 'ES256' }, text), 'ES256', `payload ${text}`)
    await bothRefuse(forge('ES256', text), 'ES256', `header ${text}`)
  }
  const badUtf8 = (text: string) => {
    const part = Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0x22, 0x7d])])
    return part.toString('base64url')
  }
  const input = `${encode({ alg: 'ES256' })}.${badUtf8('{"a":"')}`
  const signed = (text: string) =>
    `${text}.${sign('sha256', Buffer.from(text), {
      key: keys.ES256.privateKey,
      dsaEncoding: 'ieee-p1363',
    }).toString('base64url')}`
  await bothRefuse(signed(input))
  await bothRefuse(signed(`${badUtf8('{"alg":"ES256","a":"')}.${encode(claims)}`))
})

test('of two members of one name the last counts, for jose as for us', async () => {
  const token = forge('ES256', '{"alg":"none","alg":"ES256"}', '{"sub":"a","sub":"b"}')
  assert.equal(await joses(token, 'ES256'), true)
  assert.equal(ours(token, 'ES256'), true)
  assert.deepEqual(decodeJws(token)?.payload, { sub: 'b' })
  await bothRefuse(forge('ES256', '{"alg":"ES256","alg":"none"}'))
})

test('a member named __proto__ lends nothing to header or payload', () => {
  const lent = forge('ES256', '{"__proto__":{"alg":"ES256"}}', '{"__proto__":{"sub":"admin"}}')
  assert.equal(decodeJws(lent), undefined)
  const payload = decodeJws(
    forge('ES256', { alg: 'ES256' }, '{"__proto__":{"sub":"admin"}}'),
  )?.payload
  assert.equal(payload?.sub, undefined)
})

test('deep nesting neither crashes nor passes for something else', async () => {
  const deep = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
  const token = forge('ES256', { alg: 'ES256' }, deep(5_000))
  assert.equal(ours(token, 'ES256'), await joses(token, 'ES256'))
  await bothRefuse(forge('ES256', { alg: 'ES256' }, '['.repeat(5_000)))
  await bothRefuse(forge('ES256', '{"alg":'.repeat(1_000)))
})

test('critical extensions and unencoded payloads are refused', async () => {
  await bothRefuse(forge('ES256', { alg: 'ES256', crit: ['exp'], exp: 1 }))
  await bothRefuse(forge('ES256', { alg: 'ES256', crit: [] }))
  await bothRefuse(forge('ES256', { alg: 'ES256', crit: 'b64', b64: true }))
  await bothRefuse(forge('ES256', { alg: 'ES256', crit: ['b64'], b64: false }))
})

test('we are stricter than jose: crit it understands, b64 and zip it ignores, length, loose base64', async () => {
  await weAreStricter(forge('ES256', { alg: 'ES256', crit: ['b64'], b64: true }), 'crit b64')
  await weAreStricter(forge('ES256', { alg: 'ES256', b64: false }), 'b64 without crit')
  await weAreStricter(forge('ES256', { alg: 'ES256', zip: 'DEF' }), 'zip')

  const within = forge('ES256', { alg: 'ES256' }, { a: 'x'.repeat(12_100) })
  assert.ok(within.length <= 16_384 && ours(within, 'ES256'))
  const over = forge('ES256', { alg: 'ES256' }, { a: 'x'.repeat(12_300) })
  assert.ok(over.length > 16_384)
  await weAreStricter(over, 'more than 16 KiB')

  // Without Uint8Array.fromBase64 jose decodes with atob, which forgives what the RFC does not.
  const lenient = !('fromBase64' in Uint8Array)
  const token = forge('ES256', { alg: 'ES256' })
  const last = token.at(-1) as string
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const sameBits = alphabet[alphabet.indexOf(last) + 1] as string
  for (const loose of [`${token}==`, `${token}\n`, ` ${token}`, token.slice(0, -1) + sameBits]) {
    assert.equal(ours(loose, 'ES256'), false)
    if (lenient && loose !== ` ${token}`)
      await weAreStricter(loose, JSON.stringify(loose.slice(-4)))
  }
})

test('a token changed anywhere is judged as jose judges it', async () => {
  const valid = ALGS.map((alg) => ({ alg, token: forge(alg, { alg, typ: 'JWT' }) }))
  const char = fc.oneof(
    fc.constantFrom(...'ABCDefgh0189-_+/=. \n\t\0é'),
    fc.string({ unit: 'grapheme', minLength: 0, maxLength: 2 }),
  )
  const mutation = fc.record({
    of: fc.constantFrom(...valid),
    kind: fc.constantFrom('flip', 'replace', 'insert', 'remove', 'cut', 'double'),
    at: fc.nat(),
    bit: fc.integer({ min: 0, max: 7 }),
    char,
  })
  let refused = 0
  await fc.assert(
    fc.asyncProperty(mutation, async ({ of: { alg, token }, kind, at, bit, char: inserted }) => {
      const place = at % token.length
      const [before, after] = [token.slice(0, place), token.slice(place + 1)]
      const changed = {
        flip: () => before + String.fromCharCode(token.charCodeAt(place) ^ (1 << bit)) + after,
        replace: () => before + inserted + after,
        insert: () => before + inserted + token.slice(place),
        remove: () => before + after,
        cut: () => before,
        double: () => token.slice(0, place) + token.slice(Math.max(0, place - 5)),
      }[kind]()
      const [here, there] = [ours(changed, alg), await joses(changed, alg)]
      if (!here) refused++
      // Never laxer; and stricter only where the same bytes are written in another way.
      assert.ok(!here || there, JSON.stringify(changed))
      if (there && !here) assert.deepEqual(bytesOf(changed), bytesOf(token))
    }),
    { numRuns: 3_000 },
  )
  assert.ok(refused > 2_500)
})

test('changed signature bytes never verify, whatever the algorithm', async () => {
  const valid = ALGS.map((alg) => ({ alg, token: forge(alg, { alg }) }))
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...valid),
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(),
      async ({ alg, token }, noise, at) => {
        const flipped = resigned(token, (signature) => {
          const place = at % signature.length
          signature.writeUInt8(signature.readUInt8(place) ^ (1 << (at % 8)), place)
          return signature
        })
        for (const hostile of [flipped, resigned(token, () => noise)]) {
          assert.equal(ours(hostile, alg), false)
          assert.equal(await joses(hostile, alg), false)
        }
      },
    ),
    { numRuns: 500 },
  )
})

/** Decoded part by part, as loosely as can be. */
const bytesOf = (token: string) => token.split('.').map((part) => Buffer.from(part, 'base64url'))

test('EdDSA has a second name since RFC 9864, for the one curve there is here', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  for (const [alg, verifies] of [
    ['EdDSA', true],
    ['Ed25519', true],
    ['Ed448', false],
    ['ed25519', false],
  ] as const) {
    const input = `${part({ alg })}.${part({ sub: 'x' })}`
    const signature = sign(null, Buffer.from(input), privateKey).toString('base64url')
    const jws = decodeJws(`${input}.${signature}`)
    assert.ok(jws)
    assert.equal(verifyJws(jws, 'EdDSA', publicKey), verifies, alg)
    assert.equal(verifyJws(jws, 'ES256', publicKey), false)
  }
})

import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { publishedKeys } from '../../src/agents/client-keys.ts'
import { readPublicJwk } from '../../src/agents/public-jwk.ts'
import type { Deps } from '../../src/deps.ts'
import { importKey } from '../../src/http/published-keys.ts'

type Jwk = Record<string, unknown>

const MINUTE = 60_000
const HOUR = 60 * MINUTE

const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const RSA = publicKey.export({ format: 'jwk' }) as Jwk
const rsaOf = (bits: number): Jwk => {
  const n = Buffer.alloc(bits / 8, 0xff)
  return { kty: 'RSA', e: 'AQAB', n: n.toString('base64url') }
}
const e = (hex: string): Jwk => ({ ...RSA, e: Buffer.from(hex, 'hex').toString('base64url') })

const RSA_KEYS: [what: string, jwk: Jwk, good: boolean][] = [
  ['a modulus of 2048 bits', rsaOf(2048), true],
  ['a modulus of 8192 bits', rsaOf(8192), true],
  ['a modulus of 2040 bits', rsaOf(2040), false],
  ['a modulus of 1024 bits behind zeros', { ...RSA, n: padded(1024) }, false],
  ['a modulus of 8200 bits', rsaOf(8200), false],
  ['a modulus of 16384 bits', rsaOf(16_384), false],
  ['the exponent 3', e('03'), true],
  ['the exponent 2^32 - 1', e('ffffffff'), true],
  ['the exponent 1', e('01'), false],
  ['an even exponent', e('010000'), false],
  ['an exponent beyond 2^32', e('0100000001'), false],
  ['an exponent as long as the modulus', e('ff'.repeat(256)), false],
]
for (const [what, jwk, good] of RSA_KEYS) {
  test(`an RSA key with ${what} is ${good ? 'taken' : 'refused'}, published or registered`, async () => {
    assert.equal(importKey(jwk, undefined) !== undefined, good)
    if (good) assert.ok(await readPublicJwk('/jwk', jwk))
    else await assert.rejects(readPublicJwk('/jwk', jwk), { code: 'validation_failed' })
  })
}

function padded(bits: number): string {
  return Buffer.concat([Buffer.alloc(128), Buffer.alloc(bits / 8, 0xff)]).toString('base64url')
}

/** What is published at one address, and the finding of keys there by a clock of its own. */
function publisher(keys: Jwk[]) {
  const site = { json: { keys } as Jwk, down: false, asked: 0 }
  let now = Date.parse('2026-11-21T12:00:00Z')
  const deps = {
    now: () => new Date(now),
    log: { warn: () => undefined },
    outbound: {
      getJson: async () => {
        site.asked += 1
        if (site.down) throw new Error('down')
        return { json: site.json }
      },
    },
  } as unknown as Deps
  const uri = `https://agent.example/${randomUUID()}`
  const find = async (kid?: string) => {
    const found = await publishedKeys.find(deps, uri, { alg: 'ES256', ...(kid && { kid }) })
    return found.map((key) => key.kid)
  }
  const wait = (ms: number) => {
    now += ms
  }
  return { site, find, wait }
}
const ec = (kid: string): Jwk => {
  const pair: { publicKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { ...pair.publicKey.export({ format: 'jwk' }), kid }
}

test('an assertion is tried with four published keys at the most', async () => {
  const { find } = publisher(['a', 'b', 'c', 'd', 'e', 'f'].map(ec))
  assert.deepEqual(await find(), ['a', 'b', 'c', 'd'])
  assert.deepEqual(await find('f'), ['f'])
  const same = publisher(Array.from({ length: 9 }, () => ec('a')))
  assert.equal((await same.find('a')).length, 4)
})

test('while the document cannot be read again, the one from before is used, for a day', async () => {
  const { site, find, wait } = publisher([ec('a')])
  assert.deepEqual(await find('a'), ['a'])
  site.down = true
  wait(5 * MINUTE)
  assert.deepEqual(await find('a'), ['a'])
  assert.equal(site.asked, 2)
  assert.deepEqual(await find('a'), ['a'])
  assert.equal(site.asked, 2, 'not asked again within the cool-down')
  wait(MINUTE / 2)
  assert.deepEqual(await find('a'), ['a'])
  assert.equal(site.asked, 3)
  wait(24 * HOUR - 5 * MINUTE - MINUTE / 2)
  assert.deepEqual(await find('a'), ['a'])
  wait(1)
  assert.deepEqual(await find('a'), [])
  site.down = false
  wait(MINUTE / 2)
  assert.deepEqual(await find('a'), ['a'])
})

test('what is no key set does not replace one; an empty key set does', async () => {
  const { site, find, wait } = publisher([ec('a')])
  await find('a')
  site.json = { error: 'busy' }
  wait(5 * MINUTE)
  assert.deepEqual(await find('a'), ['a'])
  site.json = { keys: [] }
  wait(MINUTE / 2)
  assert.deepEqual(await find('a'), [])
})

test('unknown kids have the document read again once per cool-down, and cost it nothing', async () => {
  const { site, find, wait } = publisher([ec('a')])
  await find('a')
  for (const down of [true, false]) {
    site.down = down
    wait(MINUTE / 2)
    const { asked } = site
    for (let n = 0; n < 5; n++) assert.deepEqual(await find(`unknown-${n}`), [])
    assert.equal(site.asked, asked + 1)
    assert.deepEqual(await find('a'), ['a'])
    assert.equal(site.asked, asked + 1)
  }
})

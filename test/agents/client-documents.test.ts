/** How long a document is remembered, by a clock of its own; what a fetch may do is in http/outbound.test.ts. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import {
  type ClientDocument,
  findClientDocument,
  readClientDocument,
  UnfitDocument,
} from '../../src/agents/client-documents.ts'
import { OutboundError } from '../../src/http/outbound.ts'
import { GRANT } from '../../src/oauth/names.ts'

const MINUTE = 60
const DAY = 24 * 60 * MINUTE

const JWK = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })

function publisher() {
  const url = `https://agents.example/${randomUUID()}`
  const site = {
    headers: {} as Record<string, string>,
    document: {
      client_id: url,
      token_endpoint_auth_method: 'private_key_jwt',
      grant_types: [GRANT.tokenExchange] as string[],
      redirect_uris: ['https://a.example/1', 'https://a.example/2'],
      jwks: { keys: [{ ...JWK, kid: 'a' }] } as { keys: object[] } | undefined,
      client_name: 'One',
    },
    down: false,
    asked: 0,
    counted: 0,
    warned: 0,
  }
  let now = Date.parse('2026-11-21T12:00:00Z')
  const deps = {
    now: () => new Date(now),
    config: { allowLoopbackHttp: false },
    log: {
      warn: () => {
        site.warned += 1
      },
    },
    outbound: {
      getJson: async (asked: string, { maxBytes }: { maxBytes: number }) => {
        assert.equal(asked, url)
        assert.equal(maxBytes, 5120)
        site.asked += 1
        if (site.down) throw new OutboundError('timeout')
        return { status: 200, headers: site.headers, json: site.document }
      },
    },
  }
  const mayAsk = () => {
    site.counted += 1
  }
  const find = async (serves: (document: ClientDocument) => boolean = () => true) =>
    (await findClientDocument(deps, url, serves, mayAsk))?.metadata.client_name
  const wait = (seconds: number) => {
    now += seconds * 1000
  }
  return { url, site, deps, find, wait, read: () => readClientDocument(deps, url) }
}

const KEPT: [headers: Record<string, string>, seconds: number][] = [
  [{}, 5 * MINUTE],
  [{ 'cache-control': 'max-age=600' }, 600],
  [{ 'cache-control': 'max-age=61' }, 61],
  [{ 'cache-control': 'max-age=59' }, MINUTE],
  [{ 'cache-control': 'no-store' }, MINUTE],
  [{ 'cache-control': 'max-age=0' }, MINUTE],
  [{ 'cache-control': 'max-age=120', age: '120' }, MINUTE],
  [{ 'cache-control': 'max-age=86400' }, DAY],
  [{ 'cache-control': 'max-age=86401' }, DAY],
  [{ 'cache-control': 'max-age=31536000' }, DAY],
]
for (const [headers, seconds] of KEPT) {
  test(`a document with ${JSON.stringify(headers)} is remembered for ${seconds} seconds (DS-44)`, async () => {
    const { site, find, wait } = publisher()
    site.headers = headers
    assert.equal(await find(), 'One')
    site.document.client_name = 'Two'
    wait(seconds - 1)
    assert.equal(await find(), 'One')
    assert.equal(site.asked, 1)
    wait(1)
    assert.equal(await find(), 'Two')
    assert.equal(site.asked, 2)
    assert.equal(site.counted, 2)
  })
}

test('neither a failure nor a document that does not count is remembered (DS-44, TV-100)', async () => {
  const { site, find } = publisher()
  site.down = true
  assert.equal(await find(), undefined)
  assert.equal(await find(), undefined)
  assert.equal(site.asked, 2)
  site.down = false
  site.document.jwks = undefined
  assert.equal(await find(), undefined)
  assert.equal(site.asked, 3)
  site.document.jwks = { keys: [JWK] }
  assert.equal(await find(), 'One')
  assert.equal(site.asked, 4)
  assert.equal(site.warned, 3)
})

test('a document whose time is over is used no longer when it cannot be had again (DS-44)', async () => {
  const { site, find, wait } = publisher()
  await find()
  site.down = true
  wait(5 * MINUTE - 1)
  assert.equal(await find(), 'One')
  wait(1)
  assert.equal(await find(), undefined)
})

test('one that does not serve is asked for anew, once in a minute, and used on while that fails', async () => {
  const { site, find, wait } = publisher()
  site.headers = { 'cache-control': 'max-age=86400' }
  const wanted = ({ metadata }: ClientDocument) => metadata.client_name === 'Two'
  assert.equal(await find(wanted), 'One')
  site.document.client_name = 'Two'
  assert.equal(await find(wanted), 'One')
  wait(MINUTE - 1)
  assert.equal(await find(wanted), 'One')
  assert.equal(site.asked, 1)
  wait(1)
  site.down = true
  assert.equal(await find(wanted), 'One')
  assert.equal(await find(wanted), 'One')
  assert.equal(site.asked, 2)
  assert.equal(site.counted, 1, 'what is known serves others meanwhile: nobody is held back for it')
  wait(MINUTE)
  site.down = false
  assert.equal(await find(wanted), 'Two')
  assert.equal(site.asked, 3)
})

test('those who ask at once share one request, and one count', async () => {
  const { site, find } = publisher()
  assert.deepEqual(await Promise.all([find(), find(), find()]), ['One', 'One', 'One'])
  assert.equal(site.asked, 1)
  assert.equal(site.counted, 1)
})

test('who asks once too often sends nobody anywhere', async () => {
  const { url, site, deps } = publisher()
  const full = () => {
    throw new Error('too often')
  }
  await assert.rejects(
    findClientDocument(deps, url, () => true, full),
    /too often/,
  )
  assert.equal(site.asked, 0)
})

test('an administrator learns what is wrong, and reads it anew each time', async () => {
  const { site, read } = publisher()
  assert.equal((await read()).metadata.client_name, 'One')
  site.document.client_name = 'Two'
  assert.equal((await read()).metadata.client_name, 'Two')
  site.document.jwks = { keys: [{ kty: 'EC', crv: 'P-384' }] }
  await assert.rejects(
    read(),
    (error) => error instanceof UnfitDocument && /no EC/.test(error.message),
  )
  site.down = true
  await assert.rejects(read(), (error) => error instanceof OutboundError)
})

test('two documents that say the same in another order are the same (DS-46)', async () => {
  const { site, read } = publisher()
  const one = { ...JWK, kid: 'a' }
  const other = { ...JWK, kid: 'b' }
  site.document.jwks = { keys: [one, other] }
  const before = await read()
  site.document.jwks = { keys: [Object.fromEntries(Object.entries(other).reverse()), one] }
  site.document = Object.fromEntries(Object.entries(site.document).reverse()) as never
  const again = await read()
  assert.equal(again.digest, before.digest)
  assert.equal(again.keys_digest, before.keys_digest)
  site.document.client_name = 'Two'
  const renamed = await read()
  assert.notEqual(renamed.digest, before.digest)
  assert.equal(renamed.keys_digest, before.keys_digest)
  site.document.jwks = { keys: [one] }
  assert.notEqual((await read()).keys_digest, before.keys_digest)
})

// Of two faults of an event the earlier step answers, in the order of the reference receiver (protocol §6.2).
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { errorOf, event, openEndpoint, SET } from './events-endpoint.ts'
import { es256, type Signer } from './paperclip.ts'

type Fault = {
  step: string
  err: string
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  signer?: Signer
  mediaType?: string
  /** Instead of an event. */
  text?: string
}

const strangerSigns = es256(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)

const FAULTS: Fault[] = [
  { step: 'the media type', mediaType: 'application/jwt', err: 'invalid_request' },
  { step: 'a JWT', text: 'x.y.z', err: 'invalid_request' },
  { step: 'iss', claims: { iss: 'https://id.stranger.example' }, err: 'invalid_issuer' },
  { step: 'the key', header: { kid: 'unknown' }, err: 'invalid_key' },
  { step: 'the signature', signer: strangerSigns, err: 'authentication_failed' },
  { step: 'typ', header: { typ: 'JWT' }, err: 'invalid_request' },
  { step: 'aud', claims: { aud: 'https://auth.scissors.example' }, err: 'invalid_audience' },
  { step: 'jti', claims: { jti: undefined }, err: 'invalid_request' },
  { step: 'sub', claims: { sub: undefined }, err: 'invalid_request' },
  { step: 'iat', claims: { iat: undefined }, err: 'invalid_request' },
  { step: 'events', claims: { events: {} }, err: 'invalid_request' },
]

async function answerTo(...faults: Fault[]) {
  const merged = faults.toReversed()
  const { receiveAs, revoked } = openEndpoint()
  const made = event(
    Object.assign({}, ...merged.map(({ claims }) => claims)),
    Object.assign({}, ...merged.map(({ header }) => header)),
    faults.find(({ signer }) => signer)?.signer,
  )
  const text = faults.find((fault) => fault.text !== undefined)?.text ?? made
  const mediaType = faults.find((fault) => fault.mediaType)?.mediaType ?? SET
  const answer = await receiveAs(mediaType, text)
  assert.deepEqual(revoked, [])
  return { err: errorOf(answer), description: answer.body?.description }
}

for (const [at, first] of FAULTS.entries()) {
  test(`of an event ${first.step} is judged before all that follows (TV-96)`, async () => {
    const alone = await answerTo(first)
    assert.equal(alone.err, first.err)
    for (const second of FAULTS.slice(at + 1)) {
      assert.deepEqual(await answerTo(first, second), alone, `before ${second.step}`)
    }
  })
}

test('the steps tell themselves apart in words, but for jti and sub', async () => {
  const said = await Promise.all(FAULTS.map((fault) => answerTo(fault)))
  assert.equal(new Set(said.map(({ description }) => description)).size, FAULTS.length - 1)
})

test('a duplicate is judged like the first one, for its jti says nothing unless it was signed', async () => {
  const { receive } = openEndpoint()
  await receive(event())
  assert.equal(errorOf(await receive(event({ events: {} }))), 'invalid_request')
  assert.equal(errorOf(await receive(event({}, {}, strangerSigns))), 'authentication_failed')
})

// What a person is told who dropped a key: no more has ended than has (DS-26).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type Dropped, keyNotice } from '../../src/revoke/key-notice.ts'
import { openHouse } from '../support/house.ts'
import { tellStory } from '../support/story.ts'
import { drop, dropped, keyOf, kidOf } from './compromised.ts'

const AT = new Date('2026-11-22T09:00:00Z')
const KEY: Dropped = {
  purpose: 'id_token',
  alg: 'RS256',
  compromised_at: AT,
  activated_at: AT,
  complete: true,
  until: new Date('2026-11-23T09:00:10Z'),
  margin: 10,
}

test('sessions have ended only if the key ever signed, and all of them have', () => {
  const ended = /sessions that its ID tokens stand for have ended/
  assert.match(keyNotice(KEY), ended)
  const late = keyNotice({ ...KEY, complete: false })
  assert.doesNotMatch(late, ended)
  assert.match(late, /are being ended.*goes on by itself/)
  const never = keyNotice({ ...KEY, activated_at: null })
  assert.doesNotMatch(never, /sessions/)
  assert.match(never, /had signed nothing/)
})

test('of a key for ID tokens the clients are named by what they asked for', () => {
  assert.match(
    keyNotice(KEY),
    /agents whose id_token_signed_response_alg is RS256 \(GET \/agents\)/,
  )
})

test('an app will be told by an event, and is not said to have ended anything', () => {
  const key = { ...KEY, purpose: 'id_jag' as const }
  const notice = keyNotice(key)
  assert.match(notice, /will be told by an event .*GET \/event-deliveries/)
  assert.doesNotMatch(notice, /has ended|have ended|Not all of them/)
  assert.match(keyNotice({ ...key, complete: false }), /Not all of them are queued yet/)
  assert.doesNotMatch(keyNotice({ ...key, activated_at: null }), /will be told/)
  assert.match(notice, /forge events/)
})

test('it says what other replicas may do for a moment', () => {
  assert.match(
    keyNotice(KEY),
    /other replicas follow within half a second; .* for 10 s at the most/,
  )
})

const house = await openHouse({ after })

test('a key for ID-JAGs: the answer lists who takes events by it, and what it says of the rest holds', async () => {
  const story = await tellStory(house, {
    audience: { events_endpoint: 'https://chat.example/events' },
  })
  await story.delegate()
  const kid = kidOf((await story.exchange()).body.access_token)
  const enrol = (name: string) =>
    house.admin('POST', '/ssf-receivers', { name, audience: `https://${name}.example/ssf` })
  const { body: receiver } = await enrol('hears')
  const { body: gone } = await enrol('gone')
  assert.equal((await house.admin('DELETE', `/ssf-receivers/${gone.id}`)).status, 204)

  const answer = await dropped(house, kid)
  const { id } = receiver
  assert.deepEqual(answer.receivers, [{ id, name: 'hears', audience: 'https://hears.example/ssf' }])
  const app = answer.audiences.find((one: { id: string }) => one.id === story.audience.id)
  assert.equal(app.told, true)
  const [event] = await house.deps.db.selectFrom('event_deliveries').select('status').execute()
  assert.equal(event?.status, 'queued')
  assert.match(answer.notice, /will be told/)

  const next = await dropped(house, (await keyOf(house, 'id_jag', 'ES256', 'next')).kid)
  assert.match(next.notice, /had signed nothing/)
  const idToken = await dropped(house, (await keyOf(house, 'id_token', 'ES256', 'next')).kid)
  assert.deepEqual(idToken.receivers, [])
  assert.match(idToken.notice, /had signed nothing/)
})

test('while somebody writes on, the answer does not say that sessions have ended', async () => {
  const writer = await house.deps.pool.connect()
  try {
    await writer.query('begin')
    await writer.query('select from tenants for key share')
    const { body } = await drop(house, (await keyOf(house, 'id_token', 'RS256')).kid)
    assert.equal(body.complete, false)
    assert.match(body.notice, /are being ended/)
  } finally {
    await writer.query('rollback')
    writer.release()
  }
})

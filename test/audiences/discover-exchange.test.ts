// What discovery, and what changes later, mean for those who exchange.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { rereadAudience, rereadDue, startRereading } from '../../src/audiences/reread.ts'
import { openApp, openAppHost, SERVER_AT } from '../support/discoverable-app.ts'
import { openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { tellStory } from '../support/story.ts'

const house = await openHouse({ after })
const INACTIVE = [400, 'invalid_target', 'audience_inactive'] as const

test('nothing is minted before an approval, nor from a change to the next one; the delegation outlives both (DR-09, DR-10)', async (t) => {
  const app = await openApp(t)
  const resources = [
    { identifier: app.url, scopes: [{ name: 'docs.read' }, { name: 'docs.write' }] },
  ]
  const found = { discover: app.url, issuer: app.auth.origin, profile: 'idjag', resources }
  const story = await tellStory(house, { audience: found })
  await story.signIn()
  const { id } = story.audience
  const approve = () => house.admin('POST', `/audiences/${id}/approve-change`)
  await assertRefusal(house, () => story.exchange(), INACTIVE)
  await approve()
  const delegation = await story.delegate()
  const audOf = async (audience: string) => {
    const answer = await story.exchange({ audience })
    assert.equal(answer.status, 200, answer.text)
    return decodeJwt(answer.body.access_token).aud
  }
  assert.equal(await audOf(app.auth.origin), app.auth.origin)

  const other = await openAppHost(t)
  app.resource.authorization_servers = [other.origin]
  app.publish()
  other.put(SERVER_AT, { ...app.server, issuer: other.origin })
  house.wait(301)
  await rereadAudience(house.deps, id)
  await assertRefusal(house, () => story.exchange(), INACTIVE)
  const { body } = await house.admin('GET', `/delegations?audience_id=${id}`)
  assert.deepEqual(
    body.data.map((one: { id: string; status: string }) => [one.id, one.status]),
    [[delegation.id, 'active']],
  )
  for (const table of ['revocations', 'event_deliveries']) {
    const { rows } = await house.deps.pool.query(`select from ${table}`)
    assert.equal(rows.length, 0, table)
  }
  await approve()
  assert.equal(await audOf(other.origin), other.origin)
  const unknown = [400, 'invalid_target', 'unknown_audience'] as const
  await assertRefusal(house, () => story.exchange({ audience: app.auth.origin }), unknown)
})

test('reading what is unchanged leaves the row alone that each mint compares', async (t) => {
  const app = await openApp(t)
  const { body } = await house.admin('POST', '/audiences', { discover: app.url })
  await house.admin('POST', `/audiences/${body.id}/approve-change`)
  const version = async () => {
    const { rows } = await house.deps.pool.query('select xmin from audiences where id = $1', [
      body.id,
    ])
    return rows[0].xmin
  }
  const before = await version()
  house.wait(3600)
  await rereadDue(house.deps)
  assert.equal(await version(), before)
  app.server.token_endpoint = 'https://elsewhere.example/token'
  app.publish()
  house.wait(3600)
  await rereadDue(house.deps)
  assert.notEqual(await version(), before)
})

test('what awaits approval is a metric, and so is what came of each reading', async (t) => {
  const app = await openApp(t)
  const other = await openHouse(t)
  const { reread, stop } = startRereading(other.deps)
  t.after(stop)
  const { body } = await other.admin('POST', '/audiences', { discover: app.url })
  const metrics = async () => (await other.deps.metrics.expose()).body
  assert.match(await metrics(), /^audiences_awaiting_approval 1$/m)
  await other.admin('POST', `/audiences/${body.id}/approve-change`)
  assert.match(await metrics(), /^audiences_awaiting_approval 0$/m)
  const readAgain = () => {
    other.wait(60)
    return reread(body.id)
  }
  await readAgain()
  app.server.token_endpoint = 'https://elsewhere.example/token'
  app.publish()
  await readAgain()
  app.auth.put(SERVER_AT, undefined)
  await readAgain()
  for (const outcome of ['same', 'change', 'failed']) {
    const line = `audience_document_readings_total{outcome="${outcome}"} 1`
    assert.ok((await metrics()).includes(line), line)
  }
  assert.match(await metrics(), /^audiences_awaiting_approval 1$/m)
})

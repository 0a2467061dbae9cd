// What discovery, and what changes later, mean for those who exchange.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { rereadAudience, rereadDue, startRereading } from '../../src/audiences/reread.ts'
import { deliverDue } from '../support/deliver-due.ts'
import {
  type DiscoverableApp,
  openApp,
  openAppHost,
  plainServer,
  RESOURCE_AT,
  SERVER_AT,
} from '../support/discoverable-app.ts'
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

/** An app that was found and approved, at which a user lets an agent act. */
async function openStory(t: Parameters<typeof openApp>[0]) {
  const app = await openApp(t)
  const resources = [
    { identifier: app.url, scopes: [{ name: 'docs.read' }, { name: 'docs.write' }] },
  ]
  const found = { discover: app.url, issuer: app.auth.origin, profile: 'idjag', resources }
  const story = await tellStory(house, { audience: found })
  const { id } = story.audience
  await house.admin('POST', `/audiences/${id}/approve-change`)
  const delegation = await story.delegate()
  await story.signIn()
  const mint = () => story.exchange({ audience: app.auth.origin })
  assert.equal((await mint()).status, 200)
  /** Soon after its documents say something else. */
  const readAgain = async () => {
    house.wait(31)
    await rereadAudience(house.deps, id)
  }
  return { app, id, story, delegation, mint, readAgain }
}

type Dispute = [name: string, publish: (app: DiscoverableApp) => void]
const DISPUTES: Dispute[] = [
  [
    'its server’s document names another issuer',
    (app) => app.auth.put(SERVER_AT, { ...app.server, issuer: 'https://other.example' }),
  ],
  [
    'its metadata describe a resource of another origin',
    (app) => app.api.put(RESOURCE_AT, { ...app.resource, resource: 'https://other.example/' }),
  ],
  [
    'its metadata list another server',
    (app) => {
      const authorization_servers = ['http://127.0.0.1:1']
      app.api.put(RESOURCE_AT, { ...app.resource, authorization_servers })
    },
  ],
]

for (const [name, publish] of DISPUTES) {
  test(`a mint under way is refused once ${name}, and the delegation stays (DR-06, DR-10)`, async (t) => {
    const { app, id, delegation, mint, readAgain } = await openStory(t)
    publish(app)
    const { keys } = house.deps
    const sign = keys.sign.bind(keys)
    t.after(() => {
      keys.sign = sign
    })
    let hasSigned = false
    keys.sign = async (...what) => {
      hasSigned = true
      keys.sign = sign
      await readAgain()
      return sign(...what)
    }
    const answer = await mint()
    assert.equal(hasSigned, true)
    assert.equal(answer.body.error, 'invalid_target', answer.text)
    await assertRefusal(house, mint, INACTIVE)
    const { body } = await house.admin('GET', `/delegations?audience_id=${id}`)
    assert.deepEqual(
      body.data.map((one: { id: string; status: string }) => [one.id, one.status]),
      [[delegation.id, 'active']],
    )
    const { body: told } = await house.admin('GET', `/event-deliveries?audience_id=${id}`)
    assert.deepEqual(told.data, [])

    app.publish()
    await readAgain()
    await assertRefusal(house, mint, INACTIVE)
    await house.admin('POST', `/audiences/${id}/approve-change`)
    assert.equal((await mint()).status, 200)
  })
}

test('while an issuer awaits approval events go where they went, those that were queued before it too (DR-10)', async (t) => {
  const { app, id, story, delegation, mint, readAgain } = await openStory(t)
  const other = await openAppHost(t)
  const noted = (host: typeof other) => host.asked.filter((path) => path.endsWith('/notify'))
  for (const host of [app.auth, other]) {
    host.put('/agent/event/notify', (_request, response) => response.writeHead(202).end())
  }
  const end = (of: { id: string }) => house.admin('DELETE', `/delegations/${of.id}`)
  await end(delegation)
  const agent_auth = {
    ...app.server.agent_auth,
    events_endpoint: `${other.origin}/agent/event/notify`,
  }
  other.put(SERVER_AT, { ...plainServer(other.origin), agent_auth })
  app.auth.put(SERVER_AT, { ...app.server, issuer: other.origin, agent_auth })
  await readAgain()
  assert.equal((await house.admin('GET', `/audiences/${id}`)).body.status, 'suspended')
  await deliverDue(house.deps)
  assert.deepEqual([noted(app.auth).length, noted(other).length], [1, 0])

  await house.admin('POST', `/audiences/${id}/approve-change`)
  const next = await story.delegate()
  assert.equal((await mint()).body.error, 'invalid_target')
  assert.equal((await story.exchange({ audience: other.origin })).status, 200)
  await end(next)
  await deliverDue(house.deps)
  assert.deepEqual([noted(app.auth).length, noted(other).length], [1, 1])
})

test('a mint goes on while its documents are away (DR-10)', async (t) => {
  const { app, mint, readAgain } = await openStory(t)
  for (const host of [app.auth, app.api]) {
    for (const at of [SERVER_AT, RESOURCE_AT]) {
      host.put(at, (_request, response) => response.writeHead(503).end())
    }
    await readAgain()
    assert.equal((await mint()).status, 200)
  }
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
  app.auth.put(SERVER_AT, { ...app.server, issuer: 'https://other.example' })
  await readAgain()
  app.auth.put(SERVER_AT, undefined)
  await readAgain()
  for (const [outcome, times] of Object.entries({ same: 1, change: 2, failed: 1 })) {
    const line = `audience_document_readings_total{outcome="${outcome}"} ${times}`
    assert.ok((await metrics()).includes(line), line)
  }
  assert.match(await metrics(), /^audiences_awaiting_approval 1$/m)
})

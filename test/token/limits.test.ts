import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type EnrolledAgent, enrolAgent } from '../support/enrol.ts'
import { type House, openHouse } from '../support/house.ts'

const house = await openHouse({ after }, { TRUST_PROXY: '127.0.0.1' })
/** Tries of one client from one address, and of all from one address. */
const MOST = { client: 60, address: 300 }

const ask = (
  client_id: string,
  {
    client_secret,
    path = '/oauth2/token',
    from,
    at = house,
  }: {
    client_secret?: string | undefined
    path?: string
    from: string
    at?: House
  },
) =>
  at.form(
    path,
    { client_id, client_secret: client_secret ?? 'wrong', grant_type: 'refresh_token', token: 'x' },
    { 'x-forwarded-for': from },
  )

async function fail(agent: EnrolledAgent, times: number, from: string) {
  for (let count = 1; count <= times; count++) {
    const answer = await ask(agent.client_id, { from })
    assert.equal(`${count} ${answer.status} ${answer.body.error}`, `${count} 401 invalid_client`)
  }
}

test('a client that keeps failing is told to wait, and opens with the right secret all the same (CA-07)', async () => {
  const agent = await enrolAgent(house)
  const from = '192.0.2.1'
  await fail(agent, MOST.client, from)
  for (const path of ['/oauth2/token', '/oauth2/revoke']) {
    const refused = await ask(agent.client_id, { from, path })
    assert.equal(refused.status, 429, refused.text)
    assert.equal(refused.body.error, 'temporarily_unavailable')
    assert.ok(Number(refused.headers['retry-after']) > 0)
    assert.equal(refused.headers['cache-control'], 'no-store')
    assert.equal(refused.headers['www-authenticate'], undefined)
  }
  const right = await ask(agent.client_id, { from, client_secret: agent.client_secret })
  assert.equal(right.status, 400, right.text)
})

test('failures in the name of a client from elsewhere change nothing for it, nor for others beside it', async () => {
  const [agent, other] = [await enrolAgent(house), await enrolAgent(house)]
  await fail(agent, MOST.client, '192.0.2.2')
  assert.equal((await ask(agent.client_id, { from: '192.0.2.3' })).status, 401)
  assert.equal((await ask(other.client_id, { from: '192.0.2.2' })).status, 401)
})

test('an address is limited over all clients, those that nobody knows included', async () => {
  const from = '192.0.2.4'
  for (let count = 1; count <= MOST.address; count++) {
    assert.equal((await ask(`agt_${count}`, { from })).status, 401)
  }
  assert.equal((await ask('agt_x', { from })).status, 429)
  const { rows } = await house.deps.pool.query('select count(*)::integer as count from rate_limits')
  assert.ok(rows[0].count < 10, 'a name that nobody has leaves no row')
})

test('an authenticated client that is refused for something else is not counted', async () => {
  const { client_id, client_secret } = await enrolAgent(house)
  const from = '192.0.2.5'
  for (let count = 1; count <= MOST.client + 1; count++) {
    const answer = await ask(client_id, { from, client_secret })
    assert.equal(answer.status, 400, answer.text)
  }
  assert.equal((await ask(client_id, { from })).status, 401)
})

test('RATE_LIMITS=off lifts the limit', async (t) => {
  const at = await openHouse(t, { RATE_LIMITS: 'off', TRUST_PROXY: '127.0.0.1' })
  const agent = await enrolAgent(at)
  for (let count = 1; count <= MOST.client + 1; count++) {
    assert.equal((await ask(agent.client_id, { from: '192.0.2.1', at })).status, 401)
  }
})

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { enrolAgent } from '../support/enrol.ts'
import { openHouse } from '../support/house.ts'
import { makeParties } from '../support/parties.ts'

const house = await openHouse({ after })
const JSON_TYPE = { 'content-type': 'application/json' }

test('a call without a body may still say that it sends JSON', async () => {
  const { user_id, agent_id, audience_id } = await makeParties(house)
  const body = { user_id, agent_id, audience_id, scopes: ['chat.read'], mode: 'always' }
  const made = await house.admin('POST', '/delegations', body)
  for (const type of ['application/json', 'application/merge-patch+json']) {
    const path = `/delegations/${made.body.id}`
    const ended = await house.admin('DELETE', path, undefined, { 'content-type': type })
    assert.equal(ended.status, 204, ended.text)
  }
  const read = await house.admin('GET', '/agents', undefined, JSON_TYPE)
  assert.equal(read.status, 200, read.text)
  const agent = await enrolAgent(house)
  const moved = await house.admin('POST', `/agents/${agent.id}/suspend`, undefined, JSON_TYPE)
  assert.equal(moved.status, 200, moved.text)
  house.wait(2 * 86_400)
  const rotated = await house.admin('POST', '/keys/rotate', undefined, JSON_TYPE)
  assert.equal(rotated.status, 200, rotated.text)
})

test('where a body is needed an empty one is not JSON, nor is half of one anywhere', async () => {
  const empty = await house.admin('POST', '/users', undefined, JSON_TYPE)
  assert.equal(empty.status, 400)
  assert.equal(empty.body.type, '/problems/malformed_json')
  const half = await house.inject({
    method: 'DELETE',
    url: '/admin/v1/delegations/dlg_x',
    headers: { authorization: `Bearer ${house.config.adminApiKey}`, ...JSON_TYPE },
    payload: '{',
  })
  assert.equal(half.body.type, '/problems/malformed_json')
})

test('the admin API asks for a JSON object where it got something else or nothing', async () => {
  for (const body of [undefined, [], 'x', null]) {
    const answer = await house.admin('POST', '/users', body)
    assert.equal(answer.status, 422, answer.text)
    assert.equal(answer.body.type, '/problems/validation_failed')
    assert.match(answer.body.detail, /Send a JSON object/)
  }
})

test('the token and the revocation endpoint ask for a form where they got nothing', async () => {
  for (const url of ['/oauth2/token', '/oauth2/revoke']) {
    const answer = await house.inject({ method: 'POST', url })
    assert.equal(answer.status, 400)
    assert.equal(answer.body.error, 'invalid_request')
    assert.match(answer.body.error_description, /application\/x-www-form-urlencoded/)
  }
})

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after }, { TRUST_PROXY: '127.0.0.1' })
const MOST = 100

const call = (from: string, key?: string, url = '/admin/v1/tenants') =>
  house.inject({
    method: 'GET',
    url,
    headers: { 'x-forwarded-for': from, ...(key && { authorization: `Bearer ${key}` }) },
  })

test('wrong admin keys from one address are limited, right ones never', async () => {
  const from = '192.0.2.1'
  for (let count = 1; count <= MOST; count++) {
    assert.equal((await call(from, `guess-${count}`)).status, 401)
  }
  for (const url of ['/admin/v1/tenants', '/metrics']) {
    const refused = await call(from, 'guess', url)
    assert.equal(refused.status, 429, refused.text)
    assert.equal(refused.body.type, '/problems/rate_limited')
    assert.ok(Number(refused.headers['retry-after']) > 0)
  }
  assert.equal((await call(from, house.config.adminApiKey)).status, 200)
  assert.equal((await call('192.0.2.2', 'guess')).status, 401)
})

test('a call without a key guesses nothing', async () => {
  for (let count = 1; count <= MOST + 1; count++) {
    assert.equal((await call('192.0.2.3')).status, 401)
  }
})

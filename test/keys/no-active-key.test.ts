// Both keys of a slot are dropped, and another takes long to be made: who asks is told to come again (DS-26).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { CustodyError } from '../../src/keys/custody.ts'
import { drop, keyOf, listRows } from '../revoke/compromised.ts'
import { exchange, redeem } from '../support/contestant-requests.ts'
import { makeContestants } from '../support/contestants.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })

for (const [purpose, ask] of [
  ['id_jag', exchange],
  ['id_token', redeem],
] as const) {
  test(`without an active ${purpose} key the token endpoint answers 503, not 500`, async (t) => {
    const next = await keyOf(house, purpose, 'ES256', 'next')
    const active = await keyOf(house, purpose, 'ES256')
    t.mock.method(house.deps.custody, 'generate', async () => {
      throw new CustodyError('the custody makes no keys')
    })
    for (const { kid } of [next, active]) assert.equal((await drop(house, kid)).status, 200)
    const left = (await listRows(house)).filter(
      (row) => row.purpose === purpose && row.alg === 'ES256' && row.status !== 'compromised',
    )
    assert.deepEqual(left, [])
    const [of] = await makeContestants(house.deps.db, 1)
    assert.ok(of)
    const { status, body, headers } = await ask(house, of)
    assert.deepEqual([status, body.error], [503, 'temporarily_unavailable'])
    assert.equal(headers['retry-after'], '1')
    assert.doesNotMatch(body.error_description, /active|ES256/)
  })
}

/**
 * Keys that do not answer, as in a token that hangs: a grant holds a connection and rows of its parties while it
 * signs, and gives them back before anybody has to wait for long.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { exchange, redeem, refresh } from '../support/contestant-requests.ts'
import { type Contestant, makeContestants } from '../support/contestants.ts'
import { type House, openHouse } from '../support/house.ts'

/** The keys of that house, which from now on say nothing until told to. */
function silence({ deps: { keys } }: House) {
  const { sign } = keys
  let asked = 0
  keys.sign = () => {
    asked += 1
    return new Promise<never>(() => undefined)
  }
  return {
    asked: () => asked,
    end: () => {
      keys.sign = sign
    },
  }
}

/** A clock for what waits, moved by so many milliseconds. */
function wait(t: TestContext, milliseconds: number): void {
  const { now } = performance
  t.mock.method(performance, 'now', () => now.call(performance) + milliseconds)
}

async function openSilent(t: TestContext, count: number) {
  const house = await openHouse(t, { RATE_LIMITS: 'off' })
  const made = await makeContestants(house.deps.db, count)
  return { house, made: made as [Contestant, Contestant, Contestant], keys: silence(house) }
}

test('more sign-ins than there are connections do not keep the kill switch waiting', async (t) => {
  const { house, made, keys } = await openSilent(t, 24)
  const [, ...others] = made
  let over = false
  const redeeming = others.map((of) => redeem(house, of).finally(() => (over = true)))
  // Each connection is held by one, or a first one has already had to give its own back.
  while (keys.asked() < (house.deps.pool.options.max ?? 0) && !over) await setImmediate()
  const killed = await house.admin('POST', '/revocations', {
    agent_id: made[0].agent_id,
    reason: 'stolen',
  })
  assert.equal(killed.status, 202, killed.text)
  for (const answer of await Promise.all(redeeming)) {
    assert.deepEqual([answer.status, answer.body.error], [503, 'temporarily_unavailable'])
    assert.equal(answer.headers['retry-after'], '5')
  }
})

test('keys that gave no answer are not asked again for a while, then by one, and what was asked for is not spent', async (t) => {
  const { house, made, keys } = await openSilent(t, 3)
  const [one, two, three] = made
  assert.equal((await redeem(house, one)).status, 503)
  assert.equal(keys.asked(), 1)
  for (const answer of [await redeem(house, one), await refresh(house, two)]) {
    assert.deepEqual([answer.status, answer.body.error], [503, 'temporarily_unavailable'])
  }
  assert.equal(keys.asked(), 1)
  assert.equal(house.logs.filter((line) => line.includes('request failed')).length, 1)
  wait(t, 5_000)
  const answers = await Promise.all([redeem(house, one), refresh(house, two), redeem(house, three)])
  for (const { status } of answers) assert.equal(status, 503)
  assert.equal(keys.asked(), 2)

  keys.end()
  assert.equal((await redeem(house, one)).status, 503)
  wait(t, 5_000)
  for (const answer of [await redeem(house, one), await refresh(house, two)]) {
    assert.equal(answer.status, 200, answer.text)
  }
  assert.equal((await redeem(house, three)).status, 200)
  assert.equal((await exchange(house, one)).status, 200)
})

test('keys that say what is wrong are asked again at once', async (t) => {
  const { house, made, keys } = await openSilent(t, 1)
  const { sign } = house.deps.keys
  house.deps.keys.sign = async () => {
    throw Object.assign(new Error('the token is gone'), { code: 'ECUSTODY' })
  }
  assert.equal((await redeem(house, made[0])).status, 503)
  assert.equal(keys.asked(), 0)
  house.deps.keys.sign = sign
  keys.end()
  const answer = await redeem(house, made[0])
  assert.equal(answer.status, 200, answer.text)
})

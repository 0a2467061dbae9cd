import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, describe, test } from 'node:test'
import { openInteraction } from '../../src/delegations/interaction.ts'
import type { AuthorizationDetail } from '../../src/oauth/authorization-details.ts'
import { openHouse } from '../support/house.ts'
import { API, FILES, makeParties, type Parties } from '../support/parties.ts'
import { RESOURCE, tellStory } from '../support/story.ts'

const house = await openHouse({ after })

describe('an open interaction', () => {
  const ask = (
    of: Parties,
    scopes: string[],
    resources: string[] = [],
    details: AuthorizationDetail[] = [],
  ) => openInteraction(house.deps, { ...of, scopes, resources, details })
  const statusOf = async (id: string) =>
    (
      await house.deps.db
        .selectFrom('interactions')
        .select('status')
        .where('id', '=', id)
        .executeTakeFirstOrThrow()
    ).status

  test('waits ten minutes', async () => {
    const { expires_at } = await ask(await makeParties(house), ['chat.read'])
    assert.equal(expires_at.getTime() - house.clock.now.getTime(), 600_000)
  })

  test('is given again when the same is asked early, in whatever order', async () => {
    const of = await makeParties(house)
    const first = await ask(of, ['chat.write', 'chat.read'], [FILES, API])
    house.wait(60)
    const again = await ask(of, ['chat.read', 'chat.write', 'chat.read'], [API, FILES])
    assert.deepEqual(again, first)
  })

  test('is given again for the same details, however they are written', async () => {
    const of = await makeParties(house)
    const [payment, account] = [{ type: 'payment', amount: 5 }, { type: 'account' }]
    const first = await ask(of, [], [], [payment, account])
    const again = await ask(of, [], [], [account, { amount: 5, type: 'payment' }, account])
    assert.deepEqual(again, first)
    const row = await house.deps.db
      .selectFrom('interactions')
      .select('authorization_details')
      .where('id', '=', first.id)
      .executeTakeFirstOrThrow()
    assert.deepEqual(row.authorization_details, [payment, account])
  })

  test('is another for other scopes, resources, details or parties', async () => {
    const of = await makeParties(house)
    const other = await makeParties(house)
    const asked = await Promise.all([
      ask(of, ['chat.read']),
      ask(of, ['chat.write']),
      ask(of, ['chat.read'], [API]),
      ask(of, ['chat.read'], [], [{ type: 'payment', amount: 5 }]),
      ask(of, ['chat.read'], [], [{ type: 'payment', amount: 6 }]),
      ask(other, ['chat.read']),
    ])
    assert.equal(new Set(asked.map(({ id }) => id)).size, 6)
  })

  test('is made for as much as an agent may ask at once', async () => {
    const scopes = Array.from({ length: 120 }, () => randomBytes(40).toString('hex'))
    const story = await tellStory(house, {
      audience: {
        resources: [{ identifier: RESOURCE, scopes: scopes.map((name) => ({ name })) }],
      },
      entitlement: { scopes },
    })
    const ask = () => story.exchange({ scope: scopes.join(' ') })
    const first = await ask()
    assert.equal(first.body.error, 'interaction_required', first.text)
    assert.equal((await ask()).body.interaction_uri, first.body.interaction_uri)
  })

  test('makes way for a new one when its time has passed, and is marked expired', async () => {
    const of = await makeParties(house)
    const first = await ask(of, ['chat.read'])
    house.wait(600)
    const second = await ask(of, ['chat.read'])
    assert.notEqual(second.id, first.id)
    assert.equal(await statusOf(first.id), 'expired')
    assert.equal(await statusOf(second.id), 'open')
  })

  test('is one, however many ask at once', async () => {
    const of = await makeParties(house)
    const asked = await Promise.all(Array.from({ length: 20 }, () => ask(of, ['chat.read'])))
    assert.equal(new Set(asked.map(({ id }) => id)).size, 1)
  })

  test('is dropped when an agent asks the same user more than fifty things', async () => {
    const of = await makeParties(house)
    const first = await ask(of, ['chat.read'])
    for (let at = 0; at < 50; at += 1) {
      house.wait(1)
      await ask(of, [`made-up-${at}`])
    }
    assert.equal(await statusOf(first.id), 'expired')
    const { count } = await house.deps.db
      .selectFrom('interactions')
      .select((eb) => eb.fn.countAll<string>().as('count'))
      .where('agent_id', '=', of.agent_id)
      .where('status', '=', 'open')
      .executeTakeFirstOrThrow()
    assert.equal(Number(count), 50)
  })
})

// An event that was sent again by hand holds no mint up and is dropped for a newer consent: it proves nothing for
// whatever ends while it waits (GR-07, EV-13, EV-14).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { deliverDue } from '../support/deliver-due.ts'
import { openHouse } from '../support/house.ts'
import { type Minted, scenes } from './minted.ts'

const house = await openHouse({ after })
const { minted, mint, sibling, eventsAt, arrive, act, revoke } = scenes(house)

type Sibling = Awaited<ReturnType<typeof sibling>>

/** Two agents of one user; the first has ended, which its app did not take, and is being told again. */
async function withResent(): Promise<{ story: Minted; other: Sibling; resent: string }> {
  const story = await minted()
  const other = await sibling(story)
  house.wait(1)
  await act('DELETE', `/delegations/${story.delegation}`)
  await arrive(story, 'failed')
  house.wait(1)
  await mint(story, other.agent, other.id_token)
  const [event] = await eventsAt(story)
  await act('POST', `/event-deliveries/${event?.id}/retry`, {})
  house.wait(1)
  return { story, other, resent: event?.id ?? assert.fail() }
}

const ENDINGS: Record<string, (of: { story: Minted; other: Sibling }) => Promise<unknown>> = {
  'all of another agent is revoked': ({ other }) => revoke({ agent_id: other.agent.id }),
  'all of its user is revoked': ({ story }) => revoke({ user_id: story.user.id }),
  'another agent is stopped': ({ other }) => act('DELETE', `/delegations/${other.id}`),
}

for (const [what, end] of Object.entries(ENDINGS)) {
  test(`${what} while an event is sent again: an event of its own says so, and holds mints up (GR-07)`, async () => {
    const { story, other, resent } = await withResent()
    await end({ story, other })
    const events = await eventsAt(story)
    assert.deepEqual(
      events.map(({ status, resent_at }) => [status, resent_at === null]),
      [
        ['queued', false],
        ['queued', true],
      ],
    )
    // By user they are signed out as well.
    story.browser.cookies.clear()
    // A third agent's consent drops the one that was sent again, and waits for the other.
    const third = await sibling(story)
    const exchange = () => story.exchange({ subject_token: third.id_token }, third.agent)
    assert.equal((await exchange()).status, 503)
    await end({ story, other })
    const again = (await eventsAt(story)).filter(({ status }) => status === 'queued')
    assert.equal(again.length, 2, 'the second time it is said already')
    assert.ok(again.some(({ id }) => id === resent))
  })
}

test('a revocation is proved by its own event when a newer consent drops the one that was sent again (EV-13)', async () => {
  const { story, other, resent } = await withResent()
  const revoked = await revoke({ agent_id: other.agent.id })
  assert.equal(revoked.events_queued, 1)
  house.wait(1)
  await sibling(story)
  house.wait(60)
  await deliverDue(house.deps)
  const events = await eventsAt(story)
  assert.equal(events.find(({ id }) => id === resent)?.status, 'superseded')
  const proof = await act('GET', `/revocations/${revoked.id}`)
  assert.deepEqual(proof.events, { delivered: 0, pending: 1, failed: 0 })
})

test('what is told once more, and what becomes of it, leaves the proof of a revocation as it was (EV-13)', async () => {
  const story = await minted()
  const { id } = await revoke({ agent_id: story.agent.id })
  await arrive(story)
  const proof = await act('GET', `/revocations/${id}`)
  assert.equal(proof.status, 'delivered')
  const [event] = await eventsAt(story)
  const fates: Record<string, () => Promise<unknown>> = {
    delivered: () => arrive(story),
    failed: () => arrive(story, 'failed'),
    superseded: async () => {
      house.wait(1)
      await story.delegate()
      house.wait(60)
      await deliverDue(house.deps)
    },
  }
  for (const [status, become] of Object.entries(fates)) {
    house.wait(86_400)
    const copy = await act('POST', `/event-deliveries/${event?.id}/retry`)
    assert.deepEqual([copy.status, copy.revocation_id], ['queued', null])
    assert.deepEqual(await act('GET', `/revocations/${id}`), proof, 'while it waits')
    await become()
    assert.equal((await act('GET', `/event-deliveries/${copy.id}`)).status, status)
    assert.deepEqual(await act('GET', `/revocations/${id}`), proof, status)
  }
})

test('what was sent again and accepted covers all that was minted before (EV-13, GR-08)', async () => {
  const { story, other } = await withResent()
  await arrive(story)
  const revoked = await revoke({ agent_id: other.agent.id })
  assert.equal(revoked.events_queued, 0)
})

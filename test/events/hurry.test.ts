// What is tried at once, while it waits for its app to read again what it went by when it refused.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deliver } from '../../src/events/deliver.ts'
import { claimDue, listWaiting } from '../../src/events/delivery-queries.ts'
import { hurry, hurryAll, hurryOne } from '../../src/events/hurry.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { openDelivery } from './apps.ts'

type Delivery = Awaited<ReturnType<typeof openDelivery>>
type Event = Awaited<ReturnType<Delivery['row']>>

/** One attempt at each that is due, and nothing that it asks for. */
async function attempt({ deps, db }: Delivery): Promise<void> {
  const now = deps.now()
  const wanted = (await listWaiting(db, now)).map((party) => ({ ...party, most: 1 }))
  const claimed = await claimDue(db, { wanted, now, until: addSeconds(now, 15) })
  for (const one of claimed) await deliver(deps, one)
}

const HURRIES: [string, (of: Delivery, event: Event) => Promise<number>][] = [
  ['its user consents', ({ db }, event) => hurry(db, event)],
  ['its audience has another endpoint', ({ db }, { audience_id }) => hurryAll(db, audience_id)],
  ['somebody asks for it', ({ db, deps }, { id }) => hurryOne(db, { id, now: deps.now() })],
]

for (const [refusal, remedy] of [
  ['authentication_failed', 'cache_window'],
  ['invalid_audience', 'metadata'],
] as const) {
  for (const [what, hasten] of HURRIES) {
    test(`refused with ${refusal}, it is not given up before its time because ${what} (EV-11, EV-13, EV-14)`, async (t) => {
      const delivery = await openDelivery(t)
      const { app, tell, row, wait } = delivery
      const { audience_id, bodies } = await app([refusal, refusal, 202])
      const id = await tell(audience_id)
      await attempt(delivery)
      wait(30)
      assert.equal(await hasten(delivery, await row(id)), 1)
      await attempt(delivery)
      const { status, remedies } = await row(id)
      assert.deepEqual([status, remedies, bodies().length], ['queued', [remedy], 2])
      wait(660)
      await attempt(delivery)
      assert.equal((await row(id)).status, 'delivered')
    })
  }
}

test('what has helped nothing in its time helps no more when something else was waited for (§6.3)', async (t) => {
  const delivery = await openDelivery(t)
  const { app, tell, row, wait, db, deps } = delivery
  const refusal = 'authentication_failed'
  const { audience_id } = await app([refusal, 503, refusal])
  const id = await tell(audience_id)
  await attempt(delivery)
  wait(660)
  await attempt(delivery)
  assert.equal(await hurryOne(db, { id, now: deps.now() }), 1)
  await attempt(delivery)
  assert.equal((await row(id)).status, 'failed')
})

// An audience that is another server by now, while events for the one of before wait still.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Updateable } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { deliverDue } from '../support/deliver-due.ts'
import { openApp, openDelivery } from './apps.ts'

const HOUR = 3600

/** Many events wait for a server that is away, and then the audience is told elsewhere. */
async function openMove(t: TestContext, change: Updateable<Tables['audiences']>) {
  const delivery = await openDelivery(t)
  const { app, tell, db } = delivery
  const before = await app([503])
  const next = await openApp(t, 202)
  const { audience_id } = before
  await tell(audience_id, 40)
  const move = () =>
    db
      .updateTable('audiences')
      .set({ events_endpoint: next.url, ...change })
      .where('id', '=', audience_id)
      .execute()
  const statuses = async (of: { url: string }) => {
    const rows = db.selectFrom('event_deliveries').select('status').where('endpoint', '=', of.url)
    return new Set((await rows.execute()).map(({ status }) => status))
  }
  return { ...delivery, audience_id, before, next, move, statuses }
}

for (const [what, change] of [
  ['issuer', { issuer: 'https://next.example' }],
  ['dialect', { events_dialect: 'logout' }],
] as const) {
  test(`what is for the server that answers waits for none of another ${what} (EV-10)`, async (t) => {
    const { tell, deps, audience_id, before, next, move } = await openMove(t, change)
    await move()
    await tell(audience_id)
    let earlier: number | undefined
    next.says((response) => {
      earlier = before.bodies().length
      response.writeHead(202).end()
    })
    await deliverDue(deps)
    assert.equal(before.bodies().length, 40)
    assert.ok(earlier !== undefined && earlier < 20, `${earlier} went before it`)
  })

  test(`what is past its time is not given up with a server of another ${what} (EV-11)`, async (t) => {
    const { tell, deps, wait, audience_id, before, next, move, statuses } = await openMove(
      t,
      change,
    )
    await move()
    next.says(503)
    await tell(audience_id, 10)
    await deliverDue(deps)
    wait(72 * HOUR)
    next.says(202)
    await deliverDue(deps)
    assert.deepEqual(await statuses(before), new Set(['failed']))
    assert.deepEqual(await statuses(next), new Set(['delivered']))
  })
}

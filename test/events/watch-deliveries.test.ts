// What monitoring is told of events.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watchDeliveries } from '../../src/events/watch-deliveries.ts'
import { deliverDue } from '../support/deliver-due.ts'
import { openDelivery } from './apps.ts'

async function openWatch(t: Parameters<typeof openDelivery>[0]) {
  const delivery = await openDelivery(t)
  const { deps } = delivery
  const count = watchDeliveries(deps.metrics.registry, deps)
  return {
    ...delivery,
    deliver: () => deliverDue(deps, { count }),
    said: async () => {
      const { body } = await deps.metrics.expose()
      return body.split('\n').filter((line) => line.startsWith('event_'))
    },
  }
}

const includes = (said: string[], ...lines: string[]) => {
  for (const line of lines) assert.ok(said.includes(line), `${line}\n${said.join('\n')}`)
}

test('events are counted by state, with the age of the oldest that waits and who does not take them', async (t) => {
  const { app, tell, deliver, wait, said } = await openWatch(t)
  const busy = await app([503])
  const sour = await app(['access_denied'])
  const well = await app([202])
  includes(
    await said(),
    'event_deliveries{status="queued"} 0',
    'event_deliveries{status="failed"} 0',
    'event_oldest_undelivered_seconds 0',
  )
  await tell(busy.audience_id)
  wait(40)
  await tell(busy.audience_id)
  await tell(sour.audience_id)
  await tell(well.audience_id)
  wait(2)
  await deliver()
  includes(
    await said(),
    'event_deliveries{status="queued"} 2',
    'event_deliveries{status="failed"} 1',
    'event_deliveries{status="superseded"} 0',
    'event_oldest_undelivered_seconds 42',
    `event_failing_audiences{audience_id="${busy.audience_id}"} 2`,
    `event_failing_audiences{audience_id="${sour.audience_id}"} 1`,
  )
  assert.ok(!(await said()).join('').includes(well.audience_id))
  busy.says(202)
  sour.says(202)
  wait(30)
  await tell(sour.audience_id)
  await deliver()
  includes(
    await said(),
    'event_deliveries{status="queued"} 0',
    'event_deliveries{status="failed"} 1',
    'event_oldest_undelivered_seconds 0',
  )
  // It has taken a later one; what it refused for good is still to be seen by its state.
  assert.ok(!(await said()).some((line) => line.startsWith('event_failing_audiences{')))
})

test('attempts are counted by words from closed sets, and the time to acknowledgement is measured', async (t) => {
  const { app, tell, deliver, wait, said } = await openWatch(t)
  const { audience_id, says } = await app([503])
  await tell(audience_id)
  await deliver()
  wait(10)
  says('whatever_they_like')
  await tell(audience_id)
  await deliver()
  says(202)
  await tell(audience_id)
  wait(20)
  await deliver()
  includes(
    await said(),
    'event_attempts_total{status="queued",answer="5xx"} 1',
    'event_attempts_total{status="failed",answer="4xx"} 2',
    'event_attempts_total{status="delivered",answer="2xx"} 1',
    'event_acknowledgement_seconds_count 1',
    'event_acknowledgement_seconds_sum 20',
    'event_acknowledgement_seconds_bucket{le="15"} 0',
    'event_acknowledgement_seconds_bucket{le="60"} 1',
  )
  assert.ok(!(await said()).join('').includes('whatever_they_like'))
})

test('while the database is away, the rest of the metrics is told all the same', async (t) => {
  const delivery = await openDelivery(t)
  const { metrics, log, now } = delivery.deps
  const away = new Proxy({} as typeof delivery.db, {
    get() {
      throw new Error('the database is away')
    },
  })
  watchDeliveries(metrics.registry, { db: away, now, log })
  const { body } = await metrics.expose()
  assert.match(body, /^event_oldest_undelivered_seconds Nan$/m)
  assert.match(body, /^pg_pool_connections/m)
})

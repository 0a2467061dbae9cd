/** What the metrics say of keys: an alert on an overdue step tells of a fault, and of every such fault. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { watchKeys } from '../../src/keys/watch-keys.ts'
import { kidOf, type Ring, type Rings } from './ring-rows.ts'
import { openRings, unableTo } from './rings.ts'

const DAY = 86_400
const MARGIN = 10
const INTERVAL = 30 * DAY
const TYP = 'test+jwt'
const SLOT = { purpose: 'id_jag', alg: 'ES256' } as const

type Labels = Record<string, string | number>

/** The values of a metric, as they are scraped. */
function scraping(ring: Ring, house: Rings) {
  const registry = new Registry()
  watchKeys(registry, { keys: ring, now: () => house.clock.now })
  return async (name: string, of: Labels = {}) => {
    const metric = (await registry.getMetricsAsJSON()).find((one) => one.name === name)
    assert.ok(metric, name)
    const values = metric.values as { labels: Labels; value: number }[]
    return values.filter(({ labels }) =>
      Object.entries(of).every(([label, value]) => labels[label] === value),
    )
  }
}

test('each key shows its age, the time to its next step, and what this process signed with it', async (t) => {
  const house = await openRings(t)
  const ring = await house.open({}, false)
  const scrape = scraping(ring, house)
  house.wait(60)
  const { kid } = await ring.sign('id_jag', 'ES256', TYP, {})
  await ring.sign('id_jag', 'ES256', TYP, {})
  const next = await kidOf(house, { ...SLOT, status: 'next' })

  const labels = { ...SLOT, kid, status: 'active' }
  assert.deepEqual(await scrape('signing_key_age_seconds', { kid }), [{ value: 60, labels }])
  assert.deepEqual(await scrape('signing_key_next_step_seconds', { kid }), [
    { value: INTERVAL - 60, labels: { ...labels, step: 'retire' } },
  ])
  assert.deepEqual(await scrape('signing_key_next_step_seconds', { kid: next }), [
    { value: INTERVAL - 60, labels: { ...SLOT, kid: next, status: 'next', step: 'activate' } },
  ])
  assert.deepEqual(await scrape('signatures_total'), [{ value: 2, labels: { ...SLOT, kid } }])

  house.wait(DAY)
  await ring.rotate(SLOT)
  const { kid: idToken } = await ring.sign('id_token', 'EdDSA', TYP, {})
  await ring.rotate({ purpose: 'id_token', alg: 'EdDSA' })
  const [age] = await scrape('signing_key_age_seconds', { kid })
  assert.deepEqual([age?.value, age?.labels.status], [DAY + 60, 'retired'])
  const [removed] = await scrape('signing_key_next_step_seconds', { kid: idToken })
  assert.deepEqual(
    [removed?.labels.step, removed?.value],
    ['remove', MARGIN + ring.deps.config.idTokenLifetime + DAY],
  )
  // An event of it may wait for days.
  assert.deepEqual(await scrape('signing_key_next_step_seconds', { kid }), [])
  await ring.drop(kid)
  assert.deepEqual(await scrape('signing_key_age_seconds', { kid }), [])
  assert.deepEqual(await scrape('signatures_total', { kid }), [])
})

test('keys of an algorithm that is no longer wanted are never overdue', async (t) => {
  const house = await openRings(t)
  await house.open({}, false)
  const ring = await house.open({ signingAlgs: ['ES256', 'RS256'] }, false)
  house.wait(90 * DAY)
  const scrape = scraping(ring, house)
  assert.deepEqual(await scrape('signing_key_next_step_seconds', { alg: 'EdDSA' }), [])
  assert.equal((await scrape('signing_key_age_seconds', { alg: 'EdDSA' })).length, 4)
  assert.ok((await scrape('signing_key_next_step_seconds', { alg: 'ES256' })).length > 0)
})

test('a key that signs for too long, since none can be made to follow it, is overdue', async (t) => {
  const house = await openRings(t)
  let broken = false
  const ring = await house.open(
    {},
    false,
    unableTo(() => broken),
  )
  broken = true
  await ring.drop(await kidOf(house, { ...SLOT, status: 'active' }))
  house.wait(INTERVAL + 3601)
  await ring.keep()
  const [late, ...others] = await scraping(ring, house)('signing_key_next_step_seconds', SLOT)
  assert.deepEqual(others, [])
  assert.deepEqual([late?.labels.step, late?.value], ['retire', -3601])
})

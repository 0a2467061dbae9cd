import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createSampler } from '../../src/audit/sample.ts'

test('a flood is written up to the allowance, which grows again with time', () => {
  const clock = { now: new Date(0) }
  const take = createSampler({ perMinute: 6, now: () => clock.now })
  const taken = () => Array.from({ length: 100 }, take).filter(Boolean).length
  assert.equal(taken(), 6)
  assert.equal(taken(), 0)
  clock.now = new Date(10_000)
  assert.equal(taken(), 1)
  clock.now = new Date(3_600_000)
  assert.equal(taken(), 6)
})

test('however it comes, no minute has more than twice the allowance', () => {
  const steps = fc.array(fc.integer({ min: -2_000, max: 20_000 }), { maxLength: 200 })
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 10 }), (waits, perMinute) => {
      let now = 1_000_000
      const take = createSampler({ perMinute, now: () => new Date(now) })
      const written: number[] = []
      let latest = now
      for (const wait of waits) {
        now += wait
        latest = Math.max(latest, now)
        if (take()) written.push(latest)
      }
      for (const at of written) {
        const within = written.filter((other) => other >= at && other < at + 60_000).length
        assert.ok(within <= 2 * perMinute, `${within}`)
      }
    }),
  )
})

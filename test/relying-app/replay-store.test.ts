import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createReplayStore } from '../../src/relying-app/verify-id-jag.ts'

test('counts each jti of each issuer once, until its token is over (IJ-56)', async () => {
  const { firstUse } = createReplayStore()
  const use = (iss: string, jti: string, now: number) => firstUse({ iss, jti }, { until: 100, now })
  assert.equal(await use('a', '1', 0), true)
  assert.equal(await use('a', '1', 0), false)
  assert.equal(await use('a', '1', 99), false)
  assert.equal(await use('a', '2', 99), true)
  assert.equal(await use('b', '1', 99), true, 'another issuer')
  // The names of two are not mistaken for those of two others.
  assert.equal(await use('a","1', '1', 99), true)
})

test('forgets what can be presented no more, and nothing else', async () => {
  const { firstUse } = createReplayStore()
  const use = (jti: string, until: number, now: number) =>
    firstUse({ iss: 'a', jti }, { until, now })
  await use('short', 100, 0)
  await use('long', 1_000, 0)
  // Swept at most once a minute, at the first use in it.
  await use('other', 1_000, 99)
  assert.equal(await use('short', 1_000, 100), false)
  assert.equal(await use('short', 1_000, 159), true)
  assert.equal(await use('long', 1_000, 999), false)
  assert.equal(await use('long', 2_000, 1_000), false, 'swept a second ago')
  assert.equal(await use('long', 2_000, 1_059), true)
})

test('is over at the very second that was named', async () => {
  const { firstUse } = createReplayStore()
  const use = (now: number) => firstUse({ iss: 'a', jti: '1' }, { until: 100, now })
  assert.deepEqual([await use(0), await use(100)], [true, true])
})

test('whatever is presented whenever, no token that is still good counts twice', async () => {
  const uses = fc.array(fc.record({ jti: fc.constantFrom('1', '2', '3'), wait: fc.nat(200) }))
  await fc.assert(
    fc.asyncProperty(uses, async (all) => {
      const { firstUse } = createReplayStore()
      const good = new Map<string, number>()
      let now = 0
      for (const { jti, wait } of all) {
        now += wait
        const isFirst = await firstUse({ iss: 'a', jti }, { until: now + 360, now })
        if ((good.get(jti) ?? 0) > now) assert.equal(isFirst, false)
        if (isFirst) good.set(jti, now + 360)
      }
    }),
  )
})

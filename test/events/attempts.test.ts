import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAttempts } from '../../src/events/attempts.ts'

test('who answers gets more at a time, who does not gets one, and its place is free again', async () => {
  const attempts = createAttempts(8, 8)
  const share = (party: string) => attempts.allot(Array(8).fill(party)).get(party)
  assert.deepEqual([share('well'), share('troubled')], [2, 2])
  await attempts.begin('well', async () => true)
  await attempts.begin('troubled', async () => false)
  assert.deepEqual([share('well'), share('troubled'), attempts.size()], [3, 1, 0])
})

test('no party has more at a time than there is room for', async () => {
  const attempts = createAttempts(1, 8)
  const answer = Promise.withResolvers<boolean>()
  assert.equal(attempts.allot(['one', 'other']).size, 1)
  const ended = attempts.begin('one', () => answer.promise)
  assert.equal(attempts.allot(['one', 'other']).size, 0)
  answer.resolve(true)
  await ended
  assert.equal(attempts.allot(['other']).get('other'), 1)
})

test('an attempt that breaks all the same takes no place for ever', async () => {
  const attempts = createAttempts(1, 1)
  const broken = attempts.begin('one', async () => {
    throw new Error('nobody told of it')
  })
  await assert.rejects(broken, /nobody told/)
  assert.equal(attempts.size(), 0)
  assert.equal(attempts.allot(['one']).get('one'), 1)
})

test('whoever waits for the end of all waits for each', async () => {
  const attempts = createAttempts(2, 2)
  const [first, second] = [Promise.withResolvers<boolean>(), Promise.withResolvers<boolean>()]
  void attempts.begin('one', () => first.promise)
  void attempts.begin('other', () => second.promise)
  let ended = false
  const all = attempts.allEnd().then(() => {
    ended = true
  })
  first.resolve(true)
  await new Promise((next) => setImmediate(next))
  assert.deepEqual([ended, attempts.size()], [false, 1])
  second.resolve(true)
  await all
  assert.equal(attempts.size(), 0)
})

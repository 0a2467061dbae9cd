import assert from 'node:assert/strict'
import { test } from 'node:test'
import { within } from '../../src/http/within.ts'

const PATIENCE = 1_000
const late = () => new Error('too late')

test('what comes in time is passed on, a fault too', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  assert.equal(await within(PATIENCE, Promise.resolve('here'), late), 'here')
  const fault = new Error('broken')
  await assert.rejects(within(PATIENCE, Promise.reject(fault), late), fault)
})

test('what is not there in time is given up, and not waited for a moment longer or less', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const work = Promise.withResolvers<string>()
  const waited = within(PATIENCE, work.promise, late)
  let over = false
  waited.catch(() => {
    over = true
  })
  t.mock.timers.tick(PATIENCE - 1)
  await Promise.resolve()
  assert.equal(over, false)
  t.mock.timers.tick(1)
  await assert.rejects(waited, /too late/)
})

test('a fault that comes after that is the concern of nobody', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const unhandled: unknown[] = []
  const note = (error: unknown) => void unhandled.push(error)
  process.on('unhandledRejection', note)
  t.after(() => process.off('unhandledRejection', note))
  const work = Promise.withResolvers<string>()
  const waited = within(PATIENCE, work.promise, late)
  t.mock.timers.tick(PATIENCE)
  await assert.rejects(waited, /too late/)
  work.reject(new Error('broken'))
  // Node says so of what nobody heard once all that was due has run.
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(unhandled, [])
})

test('what came while the process stood still is in time', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const work = Promise.withResolvers<string>()
  const waited = within(PATIENCE, work.promise, late)
  // It is there, and nobody has looked.
  setImmediate(() => work.resolve('here'))
  t.mock.timers.tick(10 * PATIENCE)
  assert.equal(await waited, 'here')
})

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { repeatedly } from '../../src/http/repeatedly.ts'

const EVERY = 1_000
const quiet = { failed: () => assert.fail('it failed') }

/** A worker on a clock of its own, whose rounds end when and how the test says. */
function openWorker(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const rounds: PromiseWithResolvers<void>[] = []
  const told: string[] = []
  let signal: AbortSignal | undefined
  const worker = repeatedly(
    EVERY,
    (stopping) => {
      signal = stopping
      const round = Promise.withResolvers<void>()
      rounds.push(round)
      return round.promise
    },
    {
      failed: (error) => void told.push((error as Error).message),
      again: () => void told.push('again'),
    },
  )
  const settled = () => new Promise((next) => setImmediate(next))
  return {
    ...worker,
    told,
    begun: () => rounds.length,
    stopping: () => signal?.aborted,
    passes: (times = 1) => t.mock.timers.tick(times * EVERY),
    async ends() {
      rounds.at(-1)?.resolve()
      await settled()
    },
    async fails(message: string) {
      rounds.at(-1)?.reject(new Error(message))
      await settled()
    },
  }
}

test('a round that is due while one is under way is left out', async (t) => {
  const worker = openWorker(t)
  assert.equal(worker.begun(), 0)
  worker.passes(3)
  assert.equal(worker.begun(), 1)
  await worker.ends()
  assert.equal(worker.begun(), 1)
  worker.passes()
  assert.equal(worker.begun(), 2)
})

test('a round that is asked for begins at once, or when the one under way has ended', async (t) => {
  const worker = openWorker(t)
  worker.wake()
  assert.equal(worker.begun(), 1)
  worker.wake()
  worker.wake()
  assert.equal(worker.begun(), 1)
  await worker.ends()
  assert.equal(worker.begun(), 2)
  await worker.ends()
  assert.equal(worker.begun(), 2)
})

test('it goes on after whatever goes wrong, and says so once until it works again', async (t) => {
  const worker = openWorker(t)
  for (const message of ['first', 'second', 'third']) {
    worker.passes()
    await worker.fails(message)
  }
  assert.deepEqual(worker.told, ['first'])
  for (let round = 0; round < 2; round++) {
    worker.passes()
    await worker.ends()
  }
  assert.deepEqual(worker.told, ['first', 'again'])
  worker.passes()
  await worker.fails('anew')
  assert.deepEqual(worker.told, ['first', 'again', 'anew'])
  assert.equal(worker.begun(), 6)
})

test('work that throws before there is a promise fails like any other', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let times = 0
  const told: unknown[] = []
  const fault = new Error('at once')
  const { stop, wake } = repeatedly(
    EVERY,
    () => {
      times += 1
      throw fault
    },
    { failed: (error) => void told.push(error) },
  )
  t.mock.timers.tick(EVERY)
  await new Promise((next) => setImmediate(next))
  wake()
  await stop()
  assert.deepEqual([times, told], [2, [fault]])
})

test('a stop waits for the round under way, which is told of it, and begins no other', async (t) => {
  const worker = openWorker(t)
  worker.wake()
  worker.wake()
  assert.equal(worker.stopping(), false)
  let stopped = false
  const stopping = worker.stop().then(() => {
    stopped = true
  })
  assert.equal(worker.stopping(), true)
  worker.passes(2)
  await new Promise((next) => setImmediate(next))
  assert.equal(stopped, false)
  await worker.fails('what breaks while it stops is no news')
  await stopping
  worker.wake()
  worker.passes(2)
  assert.equal(worker.begun(), 1)
  assert.deepEqual(worker.told, [])
})

test('one that does nothing stops at once', async () => {
  await repeatedly(EVERY, async () => undefined, quiet).stop()
})

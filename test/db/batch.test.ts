import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBatch } from '../../src/db/batch.ts'

/** A statement that the test lets through one at a time. */
function gate<Item>() {
  const statements: Item[][] = []
  const waiting: (() => void)[] = []
  const run = (items: Item[]) => {
    statements.push(items)
    return new Promise<string[]>((resolve) => {
      waiting.push(() => resolve(items.map((item) => `answer to ${item}`)))
    })
  }
  const next = async () => {
    while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve))
    waiting.shift()?.()
  }
  return { statements, run, next }
}

test('what arrives while a statement runs shares the next one', async () => {
  const { statements, run, next } = gate<number>()
  const ask = createBatch({ run, most: 10 })
  const first = ask(1)
  await new Promise((resolve) => setImmediate(resolve))
  const others = [ask(2), ask(3)]
  await next()
  assert.equal(await first, 'answer to 1')
  await next()
  assert.deepEqual(await Promise.all(others), ['answer to 2', 'answer to 3'])
  assert.deepEqual(statements, [[1], [2, 3]])
})

test('items that share a key never share a statement', async () => {
  const statements: string[][] = []
  const ask = createBatch<string, string>({
    run: async (items) => {
      statements.push(items)
      return items
    },
    most: 10,
    apart: (item) => [item[0] as string],
  })
  assert.deepEqual(await Promise.all(['a1', 'b1', 'a2', 'a3'].map(ask)), ['a1', 'b1', 'a2', 'a3'])
  assert.deepEqual(statements, [['a1', 'b1'], ['a2'], ['a3']])
})

test('a statement that fails fails its own callers and nobody after them', async () => {
  let failing = true
  const ask = createBatch<number, number>({
    run: async (items) => {
      if (failing) {
        failing = false
        throw new Error('connection lost')
      }
      return items
    },
    most: 1,
  })
  const [first, second] = await Promise.allSettled([ask(1), ask(2)])
  assert.equal(first.status, 'rejected')
  assert.deepEqual(second, { status: 'fulfilled', value: 2 })
})

test('an unanswered item is an error, never a silence', async () => {
  const ask = createBatch<number, number>({ run: async () => [], most: 5 })
  await assert.rejects(ask(1), /unanswered/)
})

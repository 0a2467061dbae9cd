import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signLasting } from '../../src/db/sign-lasting.ts'
import type { Db } from '../../src/db/tables.ts'

const db = {} as Db

/** Keys that change so many times between a signature and the question whether they still sign. */
function changing(times: number) {
  const asked: { db: Db; kids: readonly string[] }[] = []
  let made = 0
  let known = 0
  let active = 0
  const keys = {
    async stillSign(of: Db, kids: readonly string[]) {
      asked.push({ db: of, kids })
      if (active < times) active += 1
      return kids.every((kid) => kid === `key-${active}`)
    },
    async refresh() {
      known = active
    },
  }
  const make = async () => {
    made += 1
    return { kid: `key-${known}` }
  }
  return { asked, sign: () => signLasting(keys, db, make, ({ kid }) => [kid]), made: () => made }
}

for (const times of [0, 1, 2]) {
  test(`what is signed by keys that change ${times} times is made ${times + 1} times, the last by one that signs`, async () => {
    const { asked, sign, made } = changing(times)
    assert.deepEqual(await sign(), { kid: `key-${times}` })
    assert.equal(made(), times + 1)
    assert.equal(asked.at(-1)?.db, db)
    assert.deepEqual(
      asked.map(({ kids }) => kids),
      Array.from({ length: times + 1 }, (_, at) => [`key-${at}`]),
    )
  })
}

test('keys that change again and again sign nothing', async () => {
  const { sign, made } = changing(3)
  assert.equal(await sign(), undefined)
  assert.equal(made(), 3)
})

test('a fault is not taken for a change', async () => {
  const fault = new Error('broken')
  const fail = async () => {
    throw fault
  }
  const sound = { stillSign: async () => true, refresh: async () => undefined }
  const make = async () => 'made'
  const kidsOf = () => ['key']
  await assert.rejects(signLasting(sound, db, fail, kidsOf), fault)
  await assert.rejects(signLasting({ ...sound, stillSign: fail }, db, make, kidsOf), fault)
  const unread = { stillSign: async () => false, refresh: fail }
  await assert.rejects(signLasting(unread, db, make, kidsOf), fault)
})

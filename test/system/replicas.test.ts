/** Replicas that start together, and keys that change while all of them sign. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { openPool } from '../../src/db/pool.ts'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import { exchange, refresh } from '../support/contestant-requests.ts'
import { makeContestants } from '../support/contestants.ts'
import type { Doors } from '../support/house.ts'
import { createTestDatabase } from '../support/postgres.ts'
import {
  databaseSettings,
  freePort,
  startProcess,
  startReplicas,
} from '../support/server-process.ts'

const SLOTS = KEY_SLOTS.length

test('three servers that start at once on an empty database make the schema and the keys once', async (t) => {
  const { pool, ...database } = await openDatabase()
  for (let round = 0; round < 2; round++) {
    await pool.query('drop schema public cascade')
    await pool.query('create schema public')
    const ports = await Promise.all([freePort(), freePort(), freePort()])
    const shared = {
      ...databaseSettings(),
      DATABASE_URL: database.url,
      ISSUER: `http://localhost:${ports[0]}`,
    }
    const servers = await Promise.all(
      ports.map((port) => startProcess(t, { ...shared, PORT: String(port) })),
    )
    const { rows } = await pool.query<{ status: string; slots: number; keys: number }>(
      `select status, count(*)::int as keys, count(distinct (purpose, alg))::int as slots
       from signing_keys group by status order by status`,
    )
    assert.deepEqual(rows, [
      { status: 'active', slots: SLOTS, keys: SLOTS },
      { status: 'next', slots: SLOTS, keys: SLOTS },
    ])
    const sets = await Promise.all(servers.map((at) => jwksOf(at)))
    const [first, ...others] = sets.map(({ keys }) => keys.map(({ kid }) => kid).toSorted())
    // Sealing keys are in none.
    assert.equal(first?.length, 2 * (SLOTS - 1))
    for (const other of others) assert.deepEqual(other, first)
    for (const server of servers) {
      assertSound(server.output())
      assert.equal(await server.stop(), 0)
    }
  }
  await database.drop()
})

test('while keys are rotated every token of every replica verifies, also with a key set fetched before', async (t) => {
  const ceiling = 2
  const { pool, db, ...database } = await openDatabase()
  const replicas = await startReplicas(t, {
    DATABASE_URL: database.url,
    JWKS_CEILING: String(ceiling),
  })
  const contestants = await makeContestants(db, 16)
  let over = false
  let verified = 0
  const kids = new Set<string>()

  const consumers = replicas.map((at) => consumer(at, (ceiling * 1000) / 2))
  const load = contestants.map(async (of, index) => {
    for (let turn = index; !over; turn++) {
      const at = replicas[turn % 2] as Doors
      const renewed = await refresh(at, of)
      assert.equal(renewed.status, 200, renewed.text)
      const { id_token, refresh_token } = renewed.body
      of.refresh_token = refresh_token
      // The ID token goes to the other replica, the ID-JAG to a consumer of either.
      const minted = await exchange(replicas[(turn + 1) % 2] as Doors, of, { id_token })
      assert.equal(minted.status, 200, minted.text)
      for (const token of [id_token, minted.body.access_token]) {
        await consumers[Math.floor(turn / 2) % 2]?.(token)
        kids.add(String(decodeProtectedHeader(token).kid))
        verified++
      }
    }
  })
  // Stops the load also when a rotation goes wrong, and the rotations when the load does.
  const failed = Promise.all(load)
  try {
    for (let rotation = 0; rotation < 4; rotation++) {
      const [at] = replicas
      for (;;) {
        const { status, body, text } = await at.admin('POST', '/keys/rotate', {})
        if (status === 200) break
        assert.equal(body?.type, '/problems/too_early', text)
        const wait = new Date(body.ready_at).getTime() - Date.now()
        await Promise.race([pause(Math.max(20, wait)), failed])
      }
    }
    await Promise.race([pause(300), failed])
  } finally {
    over = true
  }
  await failed
  assert.ok(kids.size >= 8, `signed with ${kids.size} keys`)
  t.diagnostic(`${verified} tokens by ${kids.size} keys verified`)
  const { rows } = await pool.query(
    `select count(*)::int as active from signing_keys where status = 'active'`,
  )
  assert.deepEqual(rows, [{ active: SLOTS }])
  for (const replica of replicas) {
    assertSound(replica.output())
    assert.equal(await replica.stop(), 0)
  }
  await database.drop()
})

/** Whatever a failed test leaves goes with the run. */
async function openDatabase() {
  const database = await createTestDatabase()
  const { pool, db } = openPool(database.connection, () => undefined)
  return {
    url: database.url,
    pool,
    db,
    async drop() {
      await db.destroy()
      await database.drop()
    },
  }
}

/** Without faults, but that a reading of the keys may take too long on a busy machine: then it goes on after that. */
function assertSound(output: string): void {
  const faults = output.match(/^.*"level":[5-9]0.*$/gm) ?? []
  const slow = faults.filter((line) => line.includes('signing keys could not be read'))
  assert.deepEqual(
    faults.filter((line) => !slow.includes(line)),
    [],
  )
  assert.equal(slow.length, output.match(/signing keys are read again/g)?.length ?? 0, slow[0])
}

type KeySet = Parameters<typeof createLocalJWKSet>[0]

async function jwksOf(at: Doors): Promise<KeySet> {
  return (await at.inject({ method: 'GET', url: '/.well-known/jwks.json' })).body
}

/** Verifies as a relying app does: with a key set that it keeps for so many milliseconds. */
function consumer(at: Doors, keep: number): (token: string) => Promise<void> {
  let fetchedAt = Number.NEGATIVE_INFINITY
  let keys: Promise<ReturnType<typeof createLocalJWKSet>>
  return async (token) => {
    const now = performance.now()
    if (now - fetchedAt > keep) {
      fetchedAt = now
      keys = jwksOf(at).then(createLocalJWKSet)
    }
    await jwtVerify(token, await keys, { issuer: at.config.issuer })
  }
}

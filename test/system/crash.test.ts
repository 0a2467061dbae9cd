/**
 * What was answered is true, however the process ends afterwards: killed, with its database killed under it,
 * or asked to stop.
 */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { openPool } from '../../src/db/pool.ts'
import { exchange } from '../support/contestant-requests.ts'
import { type Contestant, makeContestants } from '../support/contestants.ts'
import { newDpopKey, proving } from '../support/dpop.ts'
import { type Embedded, makeDataDir } from '../support/embedded-process.ts'
import { ADMIN_KEY, type Answer, type Doors } from '../support/house.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { startProcess } from '../support/server-process.ts'

const CALLERS = 24
/** ID-JAGs that a round hands out before the blow falls in the middle of others. */
const ENOUGH = 350

test('every ID-JAG that a client received is on record after the server is killed, and after its database is', async (t) => {
  const place = await makeDataDir(t)
  const start = () => startProcess(t, { DATA_DIR: place.dataDir, ADMIN_API_KEY: ADMIN_KEY })
  let server = await start()
  const received: Received[] = []

  for (const blow of ['server', 'database', 'server', 'database'] as const) {
    const load = await underLoad(server, place)
    t.after(load.end)
    const told = () =>
      `${blow}: ${load.received.length} received, last ${load.last()}\n${server.output().slice(-4_000)}`
    await until(() => load.received.length >= ENOUGH, told)
    if (blow === 'server') {
      await server.kill()
      await load.end()
      server = await start()
    } else {
      const before = await place.pid()
      process.kill(before, 'SIGKILL')
      await until(async () => (await place.pid().catch(() => before)) !== before, told)
      await until(async () => {
        // A kept connection may still lead to the server that was killed before.
        const ready = await server.inject({ method: 'GET', url: '/readyz' }).catch(() => undefined)
        return ready?.status === 200
      }, told)
      // It serves again by itself.
      const enough = load.received.length + 50
      await until(() => load.received.length >= enough, told)
      await load.end()
    }
    received.push(...load.received)
    await assertOnRecord(place, received)
    const proved = load.received.filter(({ once, proof }) => !once && proof).slice(-20)
    for (const { of, proof } of proved) {
      const { body } = await exchange(server, of, {}, proof)
      assert.equal(body.error, 'invalid_dpop_proof')
    }
  }
  assert.ok(received.length >= 1_000, `${received.length} received`)
  const bound = received.filter(({ jkt }) => jkt !== undefined).length
  t.diagnostic(`${received.length} ID-JAGs received, ${bound} of them bound to a key`)
  assert.ok(bound > 0)

  const spent = received.filter(({ once }) => once).slice(-40)
  for (const { of } of spent) {
    const { body } = await exchange(server, of)
    assert.equal(body.error, 'interaction_required')
  }
  const verdict = await server.admin('GET', '/audit-events/verify')
  assert.equal(verdict.status, 200, verdict.text)
  assert.equal(verdict.body.ok, true, verdict.text)
  assert.equal(await server.stop(), 0)
})

test('a server asked to stop answers what it has read, reads nothing more, and exits with 0', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGTERM'] as const) {
    const database = await createTestDatabase()
    const { pool, db } = openPool(database.connection, () => undefined)
    const server = await startProcess(t, {
      DATABASE_URL: database.url,
      ADMIN_API_KEY: ADMIN_KEY,
      KEY_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
    })
    const contestants = await makeContestants(db, 8)
    const answered: string[] = []
    const cut: string[] = []
    let count = 0
    const callers = Array.from({ length: CALLERS }, async (_, index) => {
      // Whoever is turned away comes back no more.
      for (let live = true; live; ) {
        const agent_context_id = randomUUID()
        const of = contestants[index % contestants.length] as Contestant
        const answer = await exchange(server, of, { agent_context_id }).catch(() => undefined)
        live = answer?.status === 200
        if (answer?.status === 200) answered.push(agent_context_id)
        else if (answer) assert.equal(answer.status, 503, answer.text)
        else cut.push(agent_context_id)
        count++
      }
    })
    await until(() => answered.length >= 200, server.output)
    server.child.kill(signal)
    await Promise.all(callers)
    assert.equal(await server.ended, 0, server.output())

    const { rows } = await pool.query<{ agent_context_id: string }>(
      'select agent_context_id from issuances',
    )
    const recorded = new Set(rows.map((row) => row.agent_context_id))
    assert.deepEqual(
      cut.filter((id) => recorded.has(id)),
      [],
      'recorded but not answered',
    )
    assert.equal(recorded.size, answered.length)
    assert.doesNotMatch(server.output(), /"level":[5-9]0/)
    t.diagnostic(`${signal}: ${count} requests, ${cut.length} of them never read`)
    await db.destroy()
    await database.drop()
  }
})

type Received = {
  of: Contestant
  jti: string
  jkt: string | undefined
  once: boolean
  proof: { dpop: string } | undefined
}
const key = await newDpopKey()

/**
 * Exchanges without pause, from many connections, until ended; most spend a `once` delegation each, and half
 * of them prove a key.
 */
async function underLoad(server: Doors, place: Embedded) {
  const { db } = openPool(await place.connection(), () => undefined)
  const often = await makeContestants(db, 8)
  const once = await makeContestants(db, 1_500, { delegation: 'once' })
  await db.destroy()
  const received: Received[] = []
  let over = false
  let last = ''
  const callers = Array.from({ length: CALLERS }, async (_, index) => {
    while (!over) {
      const single = index % 3 > 0 ? once.pop() : undefined
      const of = single ?? (often[index % often.length] as Contestant)
      const proof = index % 2 ? await proving(key, server) : undefined
      const answer = await exchange(server, of, {}, proof).catch((error) => {
        last = String(error)
      })
      if (answer) last = `${answer.status} ${answer.status === 200 ? '' : answer.text}`
      if (answer?.status === 200) received.push({ of, ...saidBy(answer), once: !!single, proof })
      else if (!over) await pause(20)
    }
  })
  return {
    received,
    last: () => last,
    async end() {
      over = true
      await Promise.all(callers)
    },
  }
}

async function assertOnRecord(place: Embedded, received: Received[]): Promise<void> {
  const { pool, db } = openPool(await place.connection(), () => undefined)
  const { rows: missing } = await pool.query(
    `select jti from unnest($1::text[], $2::text[]) as received(jti, jkt)
     where not exists (select from issuances where issuances.jti = received.jti
       and issuances.dpop_jkt is not distinct from received.jkt)`,
    [received.map(({ jti }) => jti), received.map(({ jkt }) => jkt)],
  )
  const { rows: unspent } = await pool.query(
    `select id from delegations where id = any($1) and status <> 'consumed'`,
    [received.flatMap(({ of, once }) => (once ? [of.delegation_id] : []))],
  )
  const { rows: twice } = await pool.query(
    `select delegation_id from issuances join delegations on delegations.id = delegation_id
     where mode = 'once' group by delegation_id having count(*) > 1`,
  )
  await db.destroy()
  assert.deepEqual({ missing, unspent, twice }, { missing: [], unspent: [], twice: [] })
}

function saidBy({ body }: Answer): Pick<Received, 'jti' | 'jkt'> {
  const { jti, cnf } = decodeJwt<{ cnf?: { jkt: string } }>(body.access_token)
  return { jti: jti as string, jkt: cnf?.jkt }
}

async function until(
  condition: () => boolean | Promise<boolean>,
  told: () => string,
): Promise<void> {
  const patience = AbortSignal.timeout(60_000)
  while (!(await condition())) {
    assert.ok(!patience.aborted, told())
    await pause(10)
  }
}

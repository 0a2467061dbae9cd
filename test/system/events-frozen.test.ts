/**
 * A server that freezes while it tells an app of an ending, with the user waiting to come back: another one tells
 * the app, the user comes back, and what the first one learns when it goes on changes nothing (EV-10, EV-14).
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Answering } from '../support/app-script.ts'
import { exchange } from '../support/contestant-requests.ts'
import { type Contestant, makeContestants } from '../support/contestants.ts'
import { openEventScene, settle } from '../support/event-scene.ts'
import { hasten } from '../support/event-storm.ts'
import { findFaults } from '../support/event-verdict.ts'
import { readWatched } from '../support/event-watch.ts'
import type { Member } from '../support/fleet.ts'
import type { Answer } from '../support/house.ts'

/** What the app says to whom, the frozen one first, whose answer comes late. */
const CASES: readonly { late: Answering; meanwhile: Answering; ends: 'delivered' | 'failed' }[] = [
  { late: 'accept', meanwhile: 'accept', ends: 'delivered' },
  { late: 'unavailable', meanwhile: 'accept', ends: 'delivered' },
  { late: 'access_denied', meanwhile: 'accept', ends: 'delivered' },
  { late: 'reset_after', meanwhile: 'accept', ends: 'delivered' },
  { late: 'unavailable', meanwhile: 'access_denied', ends: 'failed' },
]

test('what a frozen server learns too late of an event changes nothing, and the user is back by then (EV-10, EV-14)', async (t) => {
  const { pool, db, fleet, apps, drop } = await openEventScene(t, {
    seed: 'frozen',
    apps: ['waiting'],
  })
  const [first, second] = fleet.members as [Member, Member]
  const blows: number[] = []
  const users = await makeContestants(db, CASES.length, {
    audience: { events_endpoint: apps.endpoints.waiting, events_dialect: 'set' },
  })
  for (const of of users) assertGranted(await exchange(first.doors, of))

  // So that the other one has all of them.
  fleet.stop(second, () => undefined)
  for (const { delegation_id } of users) {
    const ended = await first.doors.admin('DELETE', `/delegations/${delegation_id}`)
    assert.equal(ended.status, 204, ended.text)
  }
  await until(() => apps.held.length === CASES.length)
  blows.push(Date.now())
  fleet.stop(first, () => undefined)
  fleet.resume(second, () => undefined)
  const jtis = await Promise.all(users.map(jtiOf))

  await Promise.all(users.map(consentAgain))
  for (const of of users) assertWaits(await exchange(second.doors, of))

  // Nobody hears of the frozen one: its attempts count as over, and the other one takes them up.
  await until(async () => {
    await hasten(pool)
    return apps.held.length === 2 * CASES.length
  })
  for (const of of users) assertWaits(await exchange(second.doors, of))
  for (const [n, { meanwhile }] of CASES.entries()) apps.release(jtis[n] ?? '', meanwhile, 'last')
  for (const of of users) {
    await until(async () => {
      const answer = await exchange(second.doors, of)
      if (answer.status !== 200) assertWaits(answer)
      return answer.status === 200
    })
  }

  for (const [n, { late }] of CASES.entries()) apps.release(jtis[n] ?? '', late)
  blows.push(Date.now())
  fleet.resume(first, () => undefined)
  await until(async () => (await first.doors.inject(READY)).status === 200)
  // What it does by itself, it does within a second or so.
  await pause(3_000)
  await settle(pool)

  const watched = await readWatched(pool)
  const receipts = apps.receipts()
  assert.deepEqual(findFaults({ ...watched, receipts, blows }), [])
  for (const [n, { ends }] of CASES.entries()) {
    const [event, ...others] = watched.events.filter(({ jti }) => jti === jtis[n])
    assert.deepEqual([event?.status, event?.attempts, others], [ends, 2, []])
  }
  assert.equal(watched.events.length, CASES.length)
  for (const of of users) assertGranted(await exchange(first.doors, of))
  for (const { doors } of fleet.members) assert.equal(await doors.stop(), 0)
  await drop()

  async function jtiOf({ audience_id }: Contestant): Promise<string> {
    const { rows } = await pool.query<{ jti: string }>(
      'select jti from event_deliveries where audience_id = $1',
      [audience_id],
    )
    return rows[0]?.jti ?? ''
  }
  async function consentAgain({ user_id, agent_id, audience_id }: Contestant): Promise<void> {
    const body = { user_id, agent_id, audience_id, scopes: ['docs.read'], mode: 'always' }
    const { status, text } = await second.doors.admin('POST', '/delegations', body)
    assert.equal(status, 201, text)
  }
})

const READY = { method: 'GET', url: '/readyz' } as const

const assertGranted = ({ status, text }: Answer) => assert.equal(status, 200, text)

function assertWaits({ status, body, headers, text }: Answer): void {
  assert.equal(status, 503, text)
  assert.equal(body.error, 'temporarily_unavailable')
  assert.ok(headers['retry-after'])
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const patience = AbortSignal.timeout(60_000)
  while (!(await condition())) {
    assert.ok(!patience.aborted)
    await pause(50)
  }
}

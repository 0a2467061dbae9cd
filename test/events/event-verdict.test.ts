// The judge of the storm (test/system/events.test.ts) on stories of a few lines: it has to see a loss to be believed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findFaults } from '../support/event-verdict.ts'
import type { Change, Watched, WatchedEvent } from '../support/event-watch.ts'

const SECOND = 1_000_000
const PAIR = 'aud_1 usr_1'
const ONE = { pair: PAIR, agent_id: 'agt_a', delegation_id: 'dlg_a' }
const OTHER = { pair: PAIR, agent_id: 'agt_b', delegation_id: 'dlg_b' }

type State = [second: number, status: WatchedEvent['status'], resent?: 'resent']

/** An event that went through these states; nobody ever received it. */
function event(id: string, states: State[]): WatchedEvent {
  const changes = states.map(([second, status], n): Change => {
    const sentAgain = states.slice(0, n + 1).some(([, , again]) => again)
    const jti = `${id} ${sentAgain ? 2 : 1}`
    return {
      ...{ at: second * SECOND, status, attempts: n, remedies: [] },
      ...{ jti, bytes: jti, resent: sentAgain },
    }
  })
  const { status = 'queued', jti = '', resent = false } = (changes.at(-1) ?? {}) as WatchedEvent
  return {
    ...{ id, pair: PAIR, agent_id: null, revocation_id: null, attempts: 1 },
    ...{ status, jti, resent, last_answer: {}, changes },
  }
}

const at = <Of extends object>(of: Of, second: number) => ({ ...of, at: second * SECOND })
const ending = (of: typeof ONE, second: number) => ({
  ...at(of, second),
  began: (second - 0.1) * SECOND,
})
const judge = (watched: Partial<Watched>) =>
  findFaults({
    ...{ events: [], mints: [], endings: [], consents: [], receipts: [], blows: [] },
    ...watched,
  })

const MINTS = [at(ONE, 1), at(OTHER, 2)]
/** Queued at the end of the first, given up, and sent again: dropped for a consent to a third. */
const DROPPED = event('first', [
  [10, 'queued'],
  [20, 'failed'],
  [30, 'queued', 'resent'],
  [50, 'superseded'],
])
const CONSENT = at({ pair: PAIR, agent_id: 'agt_c' }, 45)
const UNTOLD = 'dlg_b: its audience was not told of its end'

test('an ending that rests on an event that is being sent again is lost (GR-07, EV-14)', () => {
  const endings = [ending(ONE, 10), ending(OTHER, 40)]
  const story = { mints: MINTS, endings, consents: [CONSENT] }
  assert.deepEqual(judge({ ...story, events: [DROPPED] }), [UNTOLD])
  const own = event('second', [
    [40, 'queued'],
    [60, 'failed'],
  ])
  assert.deepEqual(judge({ ...story, events: [DROPPED, own] }), [])
})

test('an ending that rests on an event that had failed is lost, and so is one after a dropped event (GR-08)', () => {
  for (const second of [25, 55]) {
    const endings = [ending(ONE, 10), ending(OTHER, second)]
    const story = { mints: MINTS, endings, consents: [CONSENT], events: [DROPPED] }
    assert.deepEqual(judge(story), [UNTOLD])
  }
})

test('an ending that finds an event on its way is told by it, though it fails at the same moment', () => {
  for (const second of [15, 20.05]) {
    const endings = [ending(ONE, 10), ending(OTHER, second)]
    assert.deepEqual(judge({ mints: MINTS, endings, consents: [CONSENT], events: [DROPPED] }), [])
  }
})

test('an event that is dropped although nobody has consented is lost (EV-13)', () => {
  const story = { mints: MINTS, endings: [ending(ONE, 10)], events: [DROPPED] }
  const early = at(CONSENT, 5)
  for (const consents of [[], [early], [at({ ...CONSENT, pair: 'aud_2 usr_1' }, 45)]]) {
    assert.deepEqual(judge({ ...story, consents }), [
      'first (superseded): it was dropped for a consent that nobody gave',
    ])
  }
})

test('an event that says again what another one says is needless', () => {
  const again = event('second', [
    [15, 'queued'],
    [20, 'failed'],
  ])
  const story = { mints: MINTS, endings: [ending(ONE, 10), ending(OTHER, 15)], consents: [CONSENT] }
  assert.deepEqual(judge({ ...story, events: [DROPPED, again] }), [
    'second (failed): it says again what first said',
  ])
})

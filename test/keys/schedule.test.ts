import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  isPublished,
  isRemovable,
  isVerifiable,
  KEY_SLOTS,
  type KeyLife,
  planRotation,
  publishedAt,
  readyAt,
  removableAt,
  replicaMargin,
} from '../../src/keys/schedule.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'

const START = new Date('2026-11-21T12:00:00Z')
const times = { jwksCeiling: 86_400, idTokenLifetime: 600, idJagLifetime: 300 }

type Key = KeyLife & { alg: string; activated_at: Date | null }

/** The keys as a database would hold them, moved by nothing but what the schedule allows. */
function firstKeys(): Key[] {
  return KEY_SLOTS.flatMap((slot) =>
    (['active', 'next'] as const).map((status) => ({
      ...slot,
      status,
      kid: `${slot.purpose}-${slot.alg}-${status}`,
      published_at: START,
      activated_at: status === 'active' ? START : null,
      retired_at: null,
    })),
  )
}

function rotate(keys: Key[], slots: typeof KEY_SLOTS, now: Date, settings: typeof times): boolean {
  const plan = planRotation(keys, slots, now, settings)
  if (!('steps' in plan)) return false
  for (const { slot, retiring, activating } of plan.steps) {
    Object.assign(retiring, { status: 'retired', retired_at: now })
    Object.assign(activating, { status: 'active', activated_at: now })
    const kid = `${slot.purpose}-${slot.alg}-${keys.length}`
    const published_at = publishedAt(now, settings)
    keys.push({ ...slot, kid, status: 'next', published_at, activated_at: null, retired_at: null })
  }
  return true
}

const act = fc.record({
  seconds: fc.oneof(fc.nat(3 * 86_400), fc.nat(700), fc.constant(86_400)),
  purpose: fc.constantFrom(undefined, 'id_token', 'id_jag', 'seal'),
  alg: fc.constantFrom(undefined, 'ES256', 'RS256'),
})
const settings = fc.record({
  jwksCeiling: fc.oneof(fc.constant(86_400), fc.integer({ min: 1, max: 604_800 })),
  idTokenLifetime: fc.integer({ min: 60, max: 86_400 }),
  idJagLifetime: fc.integer({ min: 60, max: 300 }),
})

test('whatever is rotated whenever, one key signs, one is next, and every token verifies (DS-21, DS-22, IJ-03)', () => {
  fc.assert(
    fc.property(settings, fc.array(act, { maxLength: 30 }), (times, acts) => {
      const keys = firstKeys()
      const lag = replicaMargin(times)
      let now = START
      for (const { seconds, purpose, alg } of acts) {
        now = addSeconds(now, seconds)
        const slots = KEY_SLOTS.filter(
          (slot) => slot.purpose === (purpose ?? slot.purpose) && slot.alg === (alg ?? slot.alg),
        )
        if (slots.length === 0) continue
        rotate(keys, slots, now, times)
        for (const key of keys) if (isRemovable(key, now, times)) key.status = 'removed'

        for (const slot of KEY_SLOTS) {
          const mine = keys.filter((key) => key.purpose === slot.purpose && key.alg === slot.alg)
          for (const status of ['active', 'next']) {
            assert.equal(mine.filter((key) => key.status === status).length, 1)
          }
        }
        for (const key of keys) {
          // DS-21: published for a whole ceiling before it signs, but for the first.
          if (key.activated_at && key.activated_at > START) {
            assert.ok(key.activated_at >= readyAt(key, times))
          }
          // DS-22: the last token that a slow replica signed with it verifies until it ends, and so
          // does the oldest copy of the key set from before.
          if (key.retired_at && key.purpose !== 'seal') {
            const lastTokenEnds = addSeconds(key.retired_at, lag + times.idTokenLifetime)
            const stillNeeded = now < addSeconds(lastTokenEnds, times.jwksCeiling)
            if (stillNeeded) assert.ok(isPublished(key, now, times))
          }
        }
      }
    }),
    { numRuns: 500 },
  )
})

test('all or nothing: one slot that is too early holds back the others, until its ready_at', () => {
  const keys = firstKeys()
  const [first] = KEY_SLOTS
  assert.ok(first)
  const ready = addSeconds(START, 86_400)
  assert.ok(rotate(keys, [first], ready, times))
  const before = structuredClone(keys)
  const later = addSeconds(ready, 86_400 - 1)
  assert.deepEqual(planRotation(keys, KEY_SLOTS, later, times), {
    readyAt: addSeconds(ready, 86_400 + replicaMargin(times)),
  })
  assert.deepEqual(keys, before)
  assert.ok(rotate(keys, KEY_SLOTS.slice(1), later, times))
})

test('the very second decides', () => {
  const keys = firstKeys()
  const just = addSeconds(START, 86_400)
  assert.ok('readyAt' in planRotation(keys, KEY_SLOTS, new Date(just.getTime() - 1), times))
  assert.ok('steps' in planRotation(keys, KEY_SLOTS, just, times))

  const retired: KeyLife = {
    kid: 'k',
    purpose: 'id_jag',
    alg: 'ES256',
    status: 'retired',
    published_at: START,
    retired_at: START,
  }
  const end = removableAt(START, times)
  assert.equal(end.getTime(), addSeconds(START, 10 + 600 + 86_400).getTime())
  assert.ok(isPublished(retired, new Date(end.getTime() - 1), times))
  assert.ok(!isPublished(retired, end, times))
})

test('sealing keys are never in the JWKS, and verify old seals for ever unless compromised', () => {
  const of = (status: KeyLife['status'], purpose: KeyLife['purpose']): KeyLife => ({
    kid: 'k',
    purpose,
    alg: 'ES256',
    status,
    published_at: START,
    retired_at: status === 'next' || status === 'active' ? null : START,
  })
  const aged = addSeconds(START, 10 * 365 * 86_400)
  for (const status of ['next', 'active', 'retired', 'removed'] as const) {
    assert.equal(isPublished(of(status, 'seal'), START, times), false)
    assert.equal(isVerifiable(of(status, 'seal'), aged, times), true)
  }
  for (const purpose of ['id_jag', 'id_token', 'seal'] as const) {
    assert.equal(isVerifiable(of('compromised', purpose), START, times), false)
  }
  assert.equal(isVerifiable(of('removed', 'id_jag'), START, times), false)
})

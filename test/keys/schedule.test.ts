import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  destroyableAt,
  dueAt,
  isOf,
  isPublished,
  isStrange,
  isVerifiable,
  KEY_SLOTS,
  type KeyLife,
  type KeySlot,
  nextStep,
  planCompromise,
  planRotation,
  removableAt,
  replicaMargin,
  slotsDue,
  tokenLifetime,
} from '../../src/keys/schedule.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import { SIGNING_ALGS } from '../../src/oauth/signing-alg.ts'
import { openWorld, SLOTS, START } from './schedule-world.ts'

const DAY = 86_400
const times = {
  jwksCeiling: DAY,
  keyRotationInterval: 30 * DAY,
  signingAlgs: SIGNING_ALGS,
  idTokenLifetime: 600,
  idJagLifetime: 300,
}

const tokenTimes = fc.record({
  idTokenLifetime: fc.constantFrom(60, 600, 601, 7200, DAY),
  idJagLifetime: fc.constantFrom(60, 300),
})
const settings = fc.record({
  jwksCeiling: fc.constantFrom(DAY, 1, 60, 3600, 7 * DAY),
  keyRotationInterval: fc.constantFrom(30 * DAY, 1, 3600, DAY, 90 * DAY),
})

const server = fc.nat(2)
const slot = fc.constantFrom(...SLOTS)
/** What parts of a margin, or of a lifetime, matter most: none and all of it. */
const part = fc.constantFrom(0, 1, 1, 0.01, 0.5, 0.99)
const act = fc.oneof(
  // By what it has to do with: the ceiling, the interval, a margin, a token's life, or nothing.
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant('wait'),
      of: fc.constantFrom('ceiling', 'interval', 'margin', 'life', 'hour'),
      part: fc.oneof({ weight: 6, arbitrary: part }, fc.constant(1.001)),
    }),
  },
  { weight: 3, arbitrary: fc.record({ does: fc.constant('keep'), server }) },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant('rotate'),
      server,
      purpose: fc.constantFrom(undefined, 'id_token', 'id_jag', 'seal'),
      alg: fc.constantFrom(undefined, 'ES256', 'RS256'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('waitForStep'), which: fc.nat(30) }) },
  {
    weight: 3,
    arbitrary: fc.record({ does: fc.constant('sign'), server, lag: part, life: part }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('queue'), server, slot, lag: part }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('deliver'), which: fc.nat(30) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant('compromise'),
      server,
      slot,
      status: fc.constantFrom('active', 'next', 'retired'),
      made: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, fc.constant(false)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('restart'), server, tokenTimes }) },
)

test('whatever is done and when, one key signs that all know, and none goes that is needed (DS-21, DS-22, DS-26, DS-29, IJ-03)', () => {
  const seen = { rotated: 0, removed: 0, destroyed: 0, dropped: 0, signed: 0 }
  fc.assert(
    fc.property(
      settings,
      tokenTimes,
      fc.array(act, { minLength: 20, maxLength: 60, size: 'max' }),
      (times, tokenTimes, acts) => {
        const world = openWorld(times, tokenTimes)
        const spans = {
          ceiling: times.jwksCeiling,
          interval: times.keyRotationInterval,
          margin: replicaMargin(times),
          life: tokenTimes.idTokenLifetime,
          hour: 3600,
        }
        for (const it of acts) {
          if (it.does === 'wait') world.advance(Math.ceil(it.part * spans[it.of] * 1000) / 1000)
          else if (it.does === 'waitForStep') world.advanceToStep(it.which)
          else if (it.does === 'keep') world.keep(it.server)
          else if (it.does === 'sign') {
            world.sign(it.server, it.lag, it.life)
            seen.signed += 1
          } else if (it.does === 'queue') world.queueEvent(it.server, it.slot, it.lag)
          else if (it.does === 'deliver') world.endEvent(it.which)
          else if (it.does === 'restart') world.restart(it.server, it.tokenTimes)
          else if (it.does === 'compromise') {
            const key = world.keys.findLast((key) => key.status === it.status && isOf(key, it.slot))
            if (key) world.compromise(it.server, key, it.made)
          } else {
            const { purpose, alg } = it
            const slots = SLOTS.filter(
              (slot) =>
                slot.purpose === (purpose ?? slot.purpose) && slot.alg === (alg ?? slot.alg),
            )
            if (slots.length > 0) world.rotateByHand(slots, it.server)
          }
          world.check()
        }
        seen.rotated += world.keys.filter(({ retired_at }) => retired_at).length
        seen.removed += world.keys.filter(({ status }) => status === 'removed').length
        seen.dropped += world.keys.filter(({ status }) => status === 'compromised').length
        seen.destroyed += world.keys.filter(({ hasPrivatePart }) => !hasPrivatePart).length
      },
    ),
    { numRuns: 1500 },
  )
  // It was about something.
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 500, `${what}: ${times}`)
})

const key = (change: Partial<KeyLife>): KeyLife => ({
  kid: 'k',
  purpose: 'id_jag',
  alg: 'ES256',
  status: 'active',
  published_at: START,
  activated_at: START,
  retired_at: null,
  token_lifetime: 600,
  ...change,
})
/** An active key and a next one in every slot, since the start. */
const firstKeys = (): KeyLife[] =>
  KEY_SLOTS.flatMap((slot) =>
    (['active', 'next'] as const).map((status) =>
      key({
        ...slot,
        status,
        kid: `${slot.purpose}-${slot.alg}-${status}`,
        activated_at: status === 'active' ? START : null,
      }),
    ),
  )
const just = (at: Date): Date => new Date(at.getTime() - 1)

test('all or nothing: one slot that is too early holds back the others, until its ready_at', () => {
  const keys = firstKeys()
  const young = keys.find(({ status }) => status === 'next')
  assert.ok(young)
  young.published_at = addSeconds(START, 500)
  const ready = addSeconds(START, DAY)
  assert.deepEqual(planRotation(keys, KEY_SLOTS, ready, times), { readyAt: addSeconds(ready, 500) })
  const plan = planRotation(keys, KEY_SLOTS.slice(1), ready, times)
  assert.ok('steps' in plan)
  assert.deepEqual(
    plan.steps.map(({ slot }) => slot),
    KEY_SLOTS.slice(1),
  )
  for (const { slot, retiring, activating } of plan.steps) {
    assert.equal(retiring.kid, `${slot.purpose}-${slot.alg}-active`)
    assert.equal(activating.kid, `${slot.purpose}-${slot.alg}-next`)
  }
})

test('the very second decides', () => {
  const keys = firstKeys()
  const ready = addSeconds(START, DAY)
  assert.ok('readyAt' in planRotation(keys, KEY_SLOTS, just(ready), times))
  assert.ok('steps' in planRotation(keys, KEY_SLOTS, ready, times))

  const due = addSeconds(START, 30 * DAY)
  assert.deepEqual(slotsDue(keys, just(due), times), [])
  assert.deepEqual(slotsDue(keys, due, times), KEY_SLOTS)

  const retired = key({ status: 'retired', retired_at: START })
  assert.deepEqual(destroyableAt(START, times), addSeconds(START, 10))
  const end = addSeconds(START, 10 + 600 + DAY)
  assert.deepEqual(removableAt(retired, times, undefined), end)
  assert.deepEqual(nextStep(retired, [retired], times, undefined), { does: 'remove', at: end })
})

test('a key that has served its time signs on until the next one may', () => {
  const active = key({ activated_at: START })
  const next = key({
    status: 'next',
    published_at: addSeconds(START, 30 * DAY),
    activated_at: null,
  })
  assert.deepEqual(dueAt(active, next, times), addSeconds(START, 31 * DAY))
  // An interval shorter than the ceiling: as often as may be.
  const hourly = { ...times, keyRotationInterval: 3600 }
  assert.deepEqual(dueAt(active, key({ published_at: START }), hourly), addSeconds(START, DAY))
})

test('a retired key waits for its last event, and a ceiling from its end (DS-22)', () => {
  const retired = key({ status: 'retired', retired_at: START })
  assert.equal(removableAt(retired, times, 'queued'), undefined)
  assert.equal(nextStep(retired, [], times, 'queued'), undefined)
  const ended = addSeconds(START, 3 * DAY)
  assert.deepEqual(removableAt(retired, times, ended), addSeconds(ended, DAY))
  // Of an event that was over before the tokens were, nothing is left to wait for.
  assert.deepEqual(removableAt(retired, times, START), addSeconds(START, 10 + 600 + DAY))
})

test('a key stays for as long as its tokens lived when it signed, whatever is set by now (DS-22)', () => {
  const at = (token_lifetime: number | null) =>
    removableAt(key({ status: 'retired', retired_at: START, token_lifetime }), times, undefined)
  assert.deepEqual(at(7200), addSeconds(START, 10 + 7200 + DAY))
  // From before that was written down: as long as ever they can.
  assert.deepEqual(at(null), addSeconds(START, 10 + DAY + DAY))
  // Access tokens live ten minutes, however short the others are.
  assert.equal(tokenLifetime({ idTokenLifetime: 60, idJagLifetime: 60 }), 600)
  assert.equal(tokenLifetime({ idTokenLifetime: 7200, idJagLifetime: 300 }), 7200)
})

test('in place of a compromised key signs the next one, and of the others none (DS-26)', () => {
  const keys = firstKeys()
  const slot: KeySlot = { purpose: 'id_jag', alg: 'EdDSA' }
  const [active, next] = ['active', 'next'].map((status) =>
    keys.find(({ kid }) => kid === `id_jag-EdDSA-${status}`),
  ) as [KeyLife, KeyLife]
  assert.equal(planCompromise(keys, active), next)
  assert.equal(planCompromise(keys, next), undefined)
  const retired = key({ ...slot, kid: 'old', status: 'retired', retired_at: START })
  assert.equal(planCompromise([...keys, retired], retired), undefined)
  const alone = keys.filter((one) => one !== next)
  assert.equal(planCompromise(alone, active), undefined)
})

test('sealing keys are never in the JWKS, and verify old seals for ever unless compromised', () => {
  const of = (status: KeyLife['status'], purpose: KeyLife['purpose']) => key({ status, purpose })
  for (const status of ['next', 'active', 'retired', 'removed'] as const) {
    assert.equal(isPublished(of(status, 'seal')), false)
    assert.equal(isVerifiable(of(status, 'seal')), true)
  }
  for (const purpose of ['id_jag', 'id_token', 'seal'] as const) {
    assert.equal(isVerifiable(of('compromised', purpose)), false)
    assert.equal(isPublished(of('compromised', purpose)), false)
  }
  for (const purpose of ['id_jag', 'id_token'] as const) {
    assert.equal(isVerifiable(of('removed', purpose)), false)
    for (const status of ['next', 'active', 'retired'] as const) {
      assert.equal(isPublished(of(status, purpose)), true)
    }
  }
})

test('nothing is to become of keys that are gone, nor of those whose algorithm is no longer wanted', () => {
  const keys = firstKeys()
  for (const status of ['removed', 'compromised'] as const) {
    assert.equal(nextStep(key({ status, retired_at: START }), keys, times, undefined), undefined)
  }
  const fewer = { ...times, signingAlgs: ['RS256' as const] }
  for (const one of keys.filter(({ alg, purpose }) => alg === 'ES256' && purpose !== 'seal')) {
    assert.ok(nextStep(one, keys, times, undefined))
    assert.equal(nextStep(one, keys, fewer, undefined), undefined)
  }
  const retired = key({ status: 'retired', retired_at: START })
  assert.equal(nextStep(retired, keys, fewer, undefined)?.does, 'remove')
})

test('a key that none can follow is to be retired when it has served its time, and is not', () => {
  const alone = key({ activated_at: addSeconds(START, 60) })
  assert.deepEqual(nextStep(alone, [alone], times, undefined), {
    does: 'retire',
    at: addSeconds(START, 60 + times.keyRotationInterval),
  })
  assert.deepEqual(slotsDue([alone], addSeconds(START, 90 * DAY), times), [])
})

test('a key is strange that signs before anybody can know it, until its ceiling is over', () => {
  const ready = addSeconds(START, DAY)
  const first = key({})
  assert.ok(isStrange(first, START, times) && isStrange(first, just(ready), times))
  assert.equal(isStrange(first, ready, times), false)
  const rotated = key({ activated_at: ready })
  assert.equal(isStrange(rotated, ready, times), false)
  assert.equal(isStrange(key({ activated_at: null }), START, times), false)
})

test('a slot that lacks a key rotates when one that is made now may sign', () => {
  const keys = firstKeys()
  const now = addSeconds(START, 5 * DAY)
  const ready = { readyAt: addSeconds(now, 10 + DAY) }
  for (const status of ['active', 'next'] as const) {
    const left = keys.filter((key) => key.kid !== `id_jag-ES256-${status}`)
    assert.deepEqual(planRotation(left, KEY_SLOTS, now, times), ready)
    const others = KEY_SLOTS.filter(({ purpose, alg }) => `${purpose} ${alg}` !== 'id_jag ES256')
    assert.ok('steps' in planRotation(left, others, now, times))
  }
})

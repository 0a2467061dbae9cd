import assert from 'node:assert/strict'
import {
  destroyableAt,
  type EventsEnd,
  isOf,
  isPublished,
  type KeyLife,
  type KeySlot,
  type Lifetimes,
  nextStep,
  planCompromise,
  planRotation,
  publishedAt,
  removableAt,
  slotsDue,
  slotsOf,
  tokenLifetime,
} from '../../src/keys/schedule.ts'
import { addSeconds } from '../../src/oauth/numeric-date.ts'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'

// The keys as a database would hold them, moved by nothing but what the schedule says, and beside it what the
// test itself knows of each key: when it was made, when it signed, and until when what it signed is of use.

export const START = new Date('2026-11-21T12:00:00Z')
/** Two of each purpose are enough to get into each other's way. */
const signingAlgs: SigningAlg[] = ['ES256', 'RS256']
export const SLOTS = slotsOf(signingAlgs)

export type Times = { jwksCeiling: number; keyRotationInterval: number }
export type TokenTimes = { idTokenLifetime: number; idJagLifetime: number }

export type Key = KeyLife & {
  alg: SigningAlg
  made_at: Date
  /** When it was dropped. */
  compromised_at?: Date
  /** Why it may sign before every cache has it. */
  early: boolean
  hasPrivatePart: boolean
  /** Until then something signed by it verifies, or should. */
  needed_until: Date
}
type Event = { key: Key; ended_at?: Date }
/** A server with settings of its own. It may act on what was so a margin ago, but not on what was before its start. */
type Replica = { times: Lifetimes; started_at: Date }

export function openWorld(times: Times, tokenTimes: TokenTimes) {
  // Said again here and not taken from the schedule: this is what it is held against.
  const margin = Math.min(10, times.jwksCeiling / 10)
  let now = START
  let count = 0
  const keys: Key[] = []
  const events: Event[] = []
  /** Which key signed, since when, by slot; undefined: none. */
  const signed = new Map<KeySlot, { since: Date; key: Key | undefined }[]>()
  const replicas: Replica[] = []
  /** Slots in which a key was dropped when none could be made. */
  const lacking = new Set<KeySlot>()

  const settings = (of: TokenTimes): Lifetimes => ({ ...times, ...of, signingAlgs })
  const slotOf = (key: { purpose: string; alg: string }) =>
    SLOTS.find((slot) => isOf(key, slot)) as KeySlot
  const signs = (slot: KeySlot, key: Key | undefined) => {
    signed.get(slot)?.push({ since: now, key })
  }
  const make = (slot: KeySlot, status: 'active' | 'next', by: Replica, first = false): Key => {
    const key: Key = {
      ...slot,
      kid: `${slot.purpose}-${slot.alg}-${count++}`,
      status,
      made_at: now,
      published_at: first ? now : publishedAt(now, by.times),
      activated_at: status === 'active' ? now : null,
      retired_at: null,
      token_lifetime: tokenLifetime(by.times),
      early: status === 'active',
      hasPrivatePart: true,
      needed_until: now,
    }
    keys.push(key)
    if (status === 'active') signs(slot, key)
    return key
  }
  const activate = (key: Key, lifetime: number, early: boolean) => {
    const token_lifetime = Math.max(lifetime, key.token_lifetime ?? 0)
    Object.assign(key, { status: 'active', activated_at: now, token_lifetime, early })
    signs(slotOf(key), key)
  }
  const longestIn = (slot: KeySlot) =>
    Math.max(...keys.filter((key) => isOf(key, slot)).map((key) => key.token_lifetime ?? 0))

  for (let count = 0; count < 3; count++)
    replicas.push({ times: settings(tokenTimes), started_at: now })
  const by = (which: number) => replicas[which % replicas.length] as Replica
  for (const slot of SLOTS) {
    signed.set(slot, [])
    make(slot, 'active', by(0), true)
    make(slot, 'next', by(0), true)
  }

  const eventsEnd = (key: Key): EventsEnd => {
    const mine = events.filter((event) => event.key === key)
    if (mine.some(({ ended_at }) => ended_at === undefined)) return 'queued'
    const ends = mine.map(({ ended_at }) => ended_at?.getTime() ?? 0)
    return ends.length > 0 ? new Date(Math.max(...ends)) : undefined
  }
  /** @returns false when it came too early. */
  const rotate = (slots: readonly KeySlot[], server: Replica): boolean => {
    const plan = planRotation(keys, slots, now, server.times)
    if (!('steps' in plan)) return false
    for (const { slot, retiring, activating } of plan.steps) {
      const lifetime = Math.max(tokenLifetime(server.times), retiring.token_lifetime ?? 0)
      Object.assign(retiring, { status: 'retired', retired_at: now })
      activate(activating, lifetime, false)
      make(slot, 'next', server)
    }
    return true
  }
  /** The key that this server takes for the active one, having looked so long ago. */
  const signer = (slot: KeySlot, server: Replica, lag: number): Key | undefined => {
    const looked = Math.max(addSeconds(now, -lag * margin).getTime(), server.started_at.getTime())
    return signed.get(slot)?.findLast(({ since }) => since.getTime() <= looked)?.key
  }

  const world = {
    keys,
    advance(seconds: number) {
      now = addSeconds(now, seconds)
    },
    /** To one of the moments at which something may happen to a key. */
    advanceToStep(which: number) {
      const { times } = by(which)
      const steps = keys
        .map((key) => nextStep(key, keys, times, eventsEnd(key))?.at.getTime() ?? 0)
        .filter((at) => at > now.getTime())
      const moments = [...new Set(steps)].sort((a, b) => a - b)
      now = new Date(moments[which % moments.length] ?? now)
    },
    rotateByHand: (slots: readonly KeySlot[], which: number) => rotate(slots, by(which)),

    /** What the worker does, held against what was told of each key before. */
    keep(which: number) {
      const { times } = by(which)
      // Of one that none can follow the step comes late.
      const isAlone = (key: Key) =>
        key.status === 'active' &&
        !keys.some((other) => other.status === 'next' && isOf(other, slotOf(key)))
      const told = keys.map((key) => ({
        key,
        was: key.status,
        step: isAlone(key) ? undefined : nextStep(key, keys, times, eventsEnd(key)),
      }))
      world.fill(which)
      rotate(slotsDue(keys, now, times), by(which))
      for (const { key, was } of told) {
        if (was !== 'retired') continue
        const at = removableAt(key, times, eventsEnd(key))
        if (at && now >= at) world.remove(key)
      }
      for (const key of keys) {
        const since = key.compromised_at ?? key.retired_at
        if (key.hasPrivatePart && since && now >= destroyableAt(since, times)) world.destroy(key)
      }
      const becomes = { activate: 'active', retire: 'retired', remove: 'removed' } as const
      for (const { key, was, step } of told) {
        assert.equal(key.status, step && now >= step.at ? becomes[step.does] : was)
      }
    },
    remove(key: Key) {
      // DS-22, to the letter: everything it signed is over, and so is every copy of the key set from then.
      assert.ok(now >= addSeconds(key.needed_until, times.jwksCeiling))
      assert.ok(events.every((event) => event.key !== key || event.ended_at))
      key.status = 'removed'
    },
    destroy(key: Key) {
      const slot = slotOf(key)
      for (const server of replicas) assert.notEqual(signer(slot, server, 1), key)
      assert.notEqual(signer(slot, { ...by(0), started_at: START }, 1), key)
      key.hasPrivatePart = false
    },

    /** @param made false: no key can be made at the moment */
    compromise(which: number, key: Key, made: boolean) {
      if (key.status === 'removed' || key.status === 'compromised') return
      const slot = slotOf(key)
      const next = planCompromise(keys, key)
      if (key.status === 'active') signs(slot, undefined)
      Object.assign(key, { status: 'compromised', compromised_at: now })
      if (next) activate(next, Math.max(tokenLifetime(by(which).times), longestIn(slot)), true)
      if (made) world.fill(which)
      else lacking.add(slot)
    },
    /** What a slot lacks, since none could be made. */
    fill(which: number) {
      for (const slot of SLOTS) {
        for (const status of ['active', 'next'] as const) {
          if (keys.some((key) => key.status === status && isOf(key, slot))) continue
          make(slot, status, by(which)).token_lifetime = longestIn(slot)
        }
        lacking.delete(slot)
      }
    },

    restart(which: number, tokenTimes: TokenTimes) {
      const server = { times: settings(tokenTimes), started_at: now }
      replicas[which % replicas.length] = server
      const least = tokenLifetime(server.times)
      for (const key of keys) {
        if (key.status !== 'active') continue
        if (key.token_lifetime !== null && key.token_lifetime < least) key.token_lifetime = least
      }
      world.fill(which)
    },

    /** @param life which part of the longest life that this server gives */
    sign(which: number, lag: number, life: number): void {
      for (const slot of SLOTS) world.signIn(slot, by(which), lag, life)
    },
    signIn(slot: KeySlot, server: Replica, lag: number, life: number) {
      const key = signer(slot, server, lag)
      if (!key || key.status === 'compromised') return
      world.requireKnown(key)
      assert.ok(key.hasPrivatePart)
      const { idTokenLifetime, idJagLifetime } = server.times
      const longest = slot.purpose === 'id_token' ? idTokenLifetime : idJagLifetime
      need(key, addSeconds(now, Math.ceil(life * longest)))
    },
    queueEvent(which: number, slot: KeySlot, lag: number) {
      const key = signer(slot, by(which), lag)
      if (key && key.status !== 'compromised' && key.purpose === 'id_jag') events.push({ key })
    },
    endEvent(which: number) {
      const waiting = events.filter(({ ended_at }) => !ended_at)
      const event = waiting[which % waiting.length]
      if (!event) return
      event.ended_at = now
      need(event.key, now)
    },

    /** DS-21: every copy that a consumer can have, from however slow a server, has the key by now. */
    requireKnown(key: Key) {
      if (key.early || key.made_at <= START || key.purpose === 'seal') return
      assert.ok(now >= addSeconds(key.made_at, margin + times.jwksCeiling))
    },
    /** What holds at any moment. */
    check() {
      for (const slot of SLOTS) {
        const mine = keys.filter((key) => isOf(key, slot))
        for (const status of ['active', 'next'] as const) {
          const held = mine.filter((key) => key.status === status).length
          assert.ok(held === 1 || (held === 0 && lacking.has(slot)), `${held} ${status}`)
        }
      }
      for (const key of keys) {
        const dropped = key.status === 'compromised'
        const isNeeded = !dropped && now <= addSeconds(key.needed_until, times.jwksCeiling)
        const waits = !dropped && events.some((event) => event.key === key && !event.ended_at)
        // At its very end it may go.
        const over = now >= addSeconds(key.needed_until, times.jwksCeiling)
        if (key.purpose !== 'seal' && ((isNeeded && !over) || waits)) assert.ok(isPublished(key))
        if (dropped) assert.ok(!isPublished(key))
        if (key.status === 'active' || key.status === 'next') assert.ok(key.hasPrivatePart)
      }
    },
  }
  const need = (key: Key, until: Date) => {
    if (until > key.needed_until) key.needed_until = until
  }
  return world
}

// What of a new reading has to be approved, and what is followed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  changesBetween,
  type Dispute,
  eventsAfter,
  eventsOf,
  follow,
  foundOf,
  pendingAfter,
  pendingRegistration,
} from '../../src/audiences/discovery.ts'
import { type Found, foreignHosts } from '../../src/audiences/found.ts'

const origin = fc.constantFrom('https://a.example', 'https://b.example', 'https://c.example:8443')
const url = fc.tuple(origin, fc.constantFrom('/x', '/y')).map((parts) => parts.join(''))
const found: fc.Arbitrary<Found> = fc
  .record({
    issuer: origin,
    token_endpoint: fc.option(url, { nil: undefined }),
    identity_endpoint: fc.option(url, { nil: undefined }),
    events_endpoint: fc.option(url, { nil: undefined }),
    event_type: fc.constantFrom(null, 'urn:example:event'),
  })
  .map(({ issuer, event_type, ...endpoints }) => ({
    issuer,
    profile: 'authmd-0.2',
    name: 'Chat',
    resources: [],
    dpop_required: false,
    endpoints: Object.fromEntries(Object.entries(endpoints).filter(([, to]) => to !== undefined)),
    events:
      endpoints.events_endpoint === undefined
        ? null
        : { endpoint: endpoints.events_endpoint, dialect: 'set', event_type },
    ignored: [],
  }))
const NOW = new Date('2026-11-22T12:00:00Z')
const LATER = new Date('2026-11-22T13:00:00Z')
const hosts = (of: Found) => [new URL(of.issuer).host, ...foreignHosts(of)]

test('what needs no approval has the same issuer, and no host that was not approved (DR-10)', () => {
  fc.assert(
    fc.property(found, found, (before, after) => {
      assert.deepEqual(changesBetween(before, before), [])
      const isKnown =
        before.issuer === after.issuer && hosts(after).every((host) => hosts(before).includes(host))
      assert.equal(changesBetween(before, after).length === 0, isKnown)
      assert.equal(pendingAfter({ found: before, pending: null }, after, NOW) === null, isKnown)
    }),
  )
})

test('however often it is followed without approval, no new host is reached', () => {
  fc.assert(
    fc.property(found, fc.array(found), (approved, readings) => {
      let known = approved
      for (const reading of readings) {
        if (changesBetween(known, reading).length > 0) continue
        known = follow(known, reading)
        assert.equal(known.issuer, approved.issuer)
        for (const host of hosts(known)) assert.ok(hosts(approved).includes(host), host)
        assert.ok(approved.events === null || known.events !== null, 'an endpoint is never lost')
      }
    }),
  )
})

test('once something awaits approval everything does, and the same news keeps its date and digest', () => {
  fc.assert(
    fc.property(found, found, found, (before, one, other) => {
      const pending = pendingRegistration(one, NOW)
      const next = pendingAfter({ found: before, pending }, other, LATER)
      const isSame = JSON.stringify(one) === JSON.stringify(other)
      assert.equal(next?.digest === pending.digest, isSame)
      if (isSame) assert.deepEqual(next, pending)
      else assert.deepEqual([next?.found, next?.noticed_at], [other, LATER.toISOString()])
      // A database gives members back in an order of its own.
      const endpoints = Object.fromEntries(Object.entries(one.endpoints).reverse())
      assert.equal(pendingRegistration({ ...one, endpoints }, NOW).digest, pending.digest)
    }),
  )
})

test('a record that was told otherwise keeps its endpoint, and any keeps one that was lost', () => {
  fc.assert(
    fc.property(found, found, fc.boolean(), (before, after, names) => {
      const record = { ...eventsOf(before), event_names_agent: names }
      const next = eventsAfter(record, before, after)
      assert.deepEqual(next, after.events === null ? record : { ...record, ...eventsOf(after) })
      const own = { ...record, events_endpoint: 'https://own.example/' }
      assert.deepEqual(eventsAfter(own, before, after), own)
      const off = { ...record, events_dialect: 'none' as const }
      if (before.events !== null) assert.deepEqual(eventsAfter(off, before, after), off)
    }),
  )
})

test('a logout token names no agent', () => {
  const [before, after] = (['set', 'logout'] as const).map((dialect) => ({
    ...fc.sample(found, 1)[0],
    events: { endpoint: 'https://a.example/x', dialect, event_type: null },
  })) as [Found, Found]
  const record = { ...eventsOf(before), event_names_agent: true }
  assert.equal(eventsAfter(record, before, after).event_names_agent, false)
})

const dispute: fc.Arbitrary<Dispute> = fc.record({
  member: fc.constantFrom('issuer', 'authorization_servers', 'resource'),
  location: fc.constant('https://a.example/.well-known/oauth-authorization-server'),
  from: fc.constant('https://a.example'),
  to: fc.constantFrom('https://other.example', 'https://another.example/x'),
  obstacle: fc.constantFrom('it does not answer', 'it has no issuer'),
})

test('who did not say by itself who it is brings nothing but its name, and never looks like what may be approved (DR-06, DR-10)', () => {
  fc.assert(
    fc.property(found, found, dispute, (before, other, disputed) => {
      const named = foundOf(disputed, before)
      if (disputed.member === 'resource') assert.deepEqual(named, before)
      else assert.deepEqual([hosts(named), named.events], [[new URL(disputed.to).host], null])
      const pending = pendingAfter({ found: before, pending: null }, named, NOW, disputed)
      assert.ok(pending?.notice?.includes(disputed.to))
      const [change, ...more] = pending?.changes ?? []
      assert.deepEqual([change?.to, more], [disputed.to, []])
      for (const after of [before, other, named]) {
        const next = pendingAfter({ found: before, pending }, after, LATER)
        assert.notEqual(next?.digest, pending?.digest)
        assert.equal(next?.obstacle, undefined)
      }
    }),
  )
})

test('the same dispute keeps its date and digest, and shows what stands against it now', () => {
  fc.assert(
    fc.property(found, dispute, dispute, (before, one, other) => {
      const seen = { found: before, pending: null }
      const first = pendingAfter(seen, foundOf(one, before), NOW, one)
      const pending = pendingAfter(
        { ...seen, pending: first },
        foundOf(other, before),
        LATER,
        other,
      )
      const isSame = one.member === other.member && one.to === other.to
      assert.equal(pending?.digest === first?.digest, isSame)
      assert.equal(pending?.noticed_at, (isSame ? NOW : LATER).toISOString())
      assert.equal(pending?.obstacle, other.obstacle)
    }),
  )
})

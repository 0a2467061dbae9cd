// An ID-JAG of before an event does not bring back what the event has ended.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  createRevocationStore,
  isRevoked,
  type Revocation,
  reaches,
} from '../../src/relying-app/receive-event.ts'
import { AGENT, EVENT, event, openEndpoint, REVOCATION, REVOKED } from './events-endpoint.ts'
import {
  authMd,
  CLAIMS,
  CLOCK,
  idJag,
  ORBIT,
  PAPERCLIP,
  ras,
  recognised,
  redeemed,
  refused,
  verify,
} from './paperclip.ts'

const at = (now: number) => () => new Date(now * 1000)
const revocations = () => createRevocationStore()
const naming = (sub: string, client_id?: string) => ({
  events: { [REVOKED]: { [AGENT]: { sub, client_id } } },
})

/** An app that was told, and when it asks. */
async function told(claims: Record<string, unknown> = {}, now = CLOCK) {
  const store = revocations()
  const { receive } = openEndpoint({ revocations: store, now: at(now) })
  assert.equal((await receive(event({ iat: CLOCK, ...claims }))).status, 202)
  return { revocations: store, now: at(now) }
}

test('it is refused at both endpoints, and the agent is told to ask for a new one', async () => {
  const description =
    'The access was revoked since the assertion was made. Ask the issuer for a new one in a few seconds'
  const atRas = await refused(idJag(), ras(await told()))
  assert.deepEqual(
    [atRas.status, atRas.error, atRas.error_description],
    [400, 'invalid_grant', description],
  )
  const atService = await refused(idJag(), authMd(await told()))
  assert.deepEqual(
    [atService.status, atService.error, atService.members.message],
    [400, 'expired', description],
  )
})

test('it is refused up to five seconds after the event, for clocks of replicas differ; then it is a new delegation (GR-10)', async () => {
  for (const [iat, isTaken] of [
    [CLOCK - 60, false],
    [CLOCK, false],
    [CLOCK + 5, false],
    [CLOCK + 6, true],
  ] as const) {
    const claims = { iat, exp: iat + 300 }
    const context = await told()
    if (isTaken) {
      await redeemed(idJag(claims), ras(context))
      await recognised(idJag(claims), authMd(context))
    } else {
      assert.equal((await refused(idJag(claims), ras(context))).error, 'invalid_grant')
      assert.equal((await refused(idJag(claims), authMd(context))).error, 'expired')
    }
  }
})

test('that of another user, or of another issuer, is not', async () => {
  const context = await told()
  await redeemed(idJag({ sub: 'p_5' }), ras(context))
  const { list } = context.revocations
  assert.equal((await list({ iss: ORBIT, sub: CLAIMS.sub }, CLOCK)).length, 1)
  assert.deepEqual(await list({ iss: 'https://x.example', sub: CLAIMS.sub }, CLOCK), [])
})

test('without a store nothing is remembered', async () => {
  const { receive } = openEndpoint()
  await receive(event({ iat: CLOCK }))
  await redeemed(idJag())
})

test('where the event names an agent, its sibling stays', async () => {
  const context = await told(naming('agt_1', 'client-1'))
  const client = { id: 'client-1' }
  const by = (act: object | undefined, client_id = 'client-1') =>
    refusalOf(idJag({ act, client_id }), ras({ ...context, client: { id: client_id } }))
  assert.equal(await by({ sub: 'agt_1' }), 'invalid_grant')
  assert.equal(await by({ sub: 'agt_2' }), undefined, 'by whom it says acts, not by the client')
  assert.equal(await by({ sub: 'agt_9', act: { sub: 'agt_1' } }), 'invalid_grant', 'for the agent')
  assert.equal(await by(undefined), 'invalid_grant', 'nothing tells it apart')
  assert.equal(await by(undefined, 'client-2'), undefined, 'another client')
  assert.equal(await by({}, client.id), 'invalid_grant', 'an actor without a name')
})

test('an agent that is named without a client_id is told apart by act alone', async () => {
  const context = await told(naming('agt_1'))
  assert.equal(await refusalOf(idJag(), ras(context)), 'invalid_grant')
  assert.equal(await refusalOf(idJag({ act: { sub: 'agt_2' } }), ras(context)), undefined)
})

test('it stays refused as long as it may live, whatever the clocks', async () => {
  for (const ahead of [0, 30, 60, 300]) {
    const store = revocations()
    const { receive } = openEndpoint({ revocations: store, now: at(CLOCK) })
    await receive(event({ iat: CLOCK + ahead }))
    for (let now = CLOCK; now < CLOCK + 800; now += 1) {
      // The last one that the event reaches, if it can still be presented.
      const iat = CLOCK + Math.min(ahead, 60) + 5
      if (iat + 300 + 60 <= now || iat > now + 60) continue
      const context = { revocations: store, now: at(now) }
      const made = idJag({ iat, exp: iat + 300 })
      assert.equal(await refusalOf(made, ras(context)), 'invalid_grant', `${ahead} ${now}`)
    }
  }
})

test('an event that comes late is remembered no longer than it has to be', async () => {
  const { revocations: store } = await told({ iat: CLOCK - 3600 })
  assert.deepEqual(await store.list({ iss: ORBIT, sub: CLAIMS.sub }, CLOCK), [])
})

test('an auth.md service takes no ID-JAG that is older than it remembers', async () => {
  const lasting = idJag({ exp: CLAIMS.iat + 3600, auth_time: CLAIMS.iat })
  const now = (after: number) => ({ now: at(CLAIMS.iat + after) })
  await recognised(lasting, authMd({ revocations: revocations(), ...now(359) }))
  const refusal = await refused(lasting, authMd({ revocations: revocations(), ...now(360) }))
  assert.deepEqual(
    [refusal.error, refusal.error_description],
    ['expired', 'The assertion is too old'],
  )
  await recognised(lasting, authMd(now(360)))
})

test('it uses up no jti, and starts no claim', async () => {
  const used: unknown[] = []
  const replay = {
    firstUse: async (of: unknown) => {
      used.push(of)
      return true
    },
  }
  const context = { ...(await told()), replay }
  await refused(idJag(), ras(context))
  await refused(idJag(), authMd(context))
  assert.deepEqual(used, [])
})

test('the store keeps every revocation of a user until its own end', async () => {
  const store = revocations()
  const of = { iss: ORBIT, sub: 'a' }
  const one = { ...of, aud: PAPERCLIP, revoked_at: 1 }
  const other = { ...one, agent: { sub: 'agt_1' } }
  await store.add(one, { until: 100, now: 0 })
  await store.add(other, { until: 50, now: 0 })
  assert.deepEqual(await store.list(of, 49), [one, other])
  assert.deepEqual(await store.list(of, 50), [one])
  await store.add(other, { until: 500, now: 100 })
  assert.deepEqual(await store.list(of, 499), [other])
  assert.deepEqual(await store.list({ iss: 'a","', sub: 'a' }, 499), [])
})

test('what is revoked later or for more agents reaches more', () => {
  const name = fc.constantFrom('a', 'b', 'c')
  const agent = fc.option(fc.record({ sub: name, client_id: name }, { requiredKeys: ['sub'] }), {
    nil: undefined,
  })
  const act = fc.option(
    fc.record({ sub: name, act: fc.option(fc.record({ sub: name }), { nil: undefined }) }),
    { nil: undefined },
  )
  const client_id = fc.option(name, { nil: undefined })
  const second = fc.nat(20)
  fc.assert(
    fc.property(agent, act, client_id, second, second, (agent, act, client_id, iat, revoked_at) => {
      const basis = { iss: ORBIT, sub: 's', iat, act, client_id }
      const revocation: Revocation = {
        ...{ iss: ORBIT, sub: 's', aud: PAPERCLIP, revoked_at },
        ...(agent && { agent: agent as { sub: string } }),
      }
      const all: Revocation = { iss: ORBIT, sub: 's', aud: PAPERCLIP, revoked_at }
      if (!reaches(revocation, basis)) return
      assert.ok(iat <= revoked_at + 5)
      assert.ok(reaches(all, basis))
      assert.ok(reaches({ ...revocation, revoked_at: revoked_at + 1 }, basis))
      for (const other of [{ sub: 't' }, { iss: 'https://x.example' }]) {
        assert.equal(reaches(revocation, { ...basis, ...other }), false)
      }
    }),
  )
})

test('what was kept without a name is not spared by one', () => {
  const agent = { sub: 'agt_1', client_id: 'client-1' }
  const basis = { iss: ORBIT, sub: EVENT.sub, iat: CLOCK }
  const isReached = (more: object) => reaches({ ...REVOCATION, agent }, { ...basis, ...more })
  for (const client_id of [undefined, null, '', 1]) assert.ok(isReached({ client_id }))
  for (const act of [undefined, null, 'agt_2', [], { sub: 1 }]) assert.ok(isReached({ act }))
  assert.equal(isReached({ client_id: 'client-2' }), false)
  assert.equal(isReached({ client_id: 'client-1', act: { sub: 'agt_2' } }), false)
})

test('a date that is none is before every event', async () => {
  assert.ok(reaches(REVOCATION, { iss: ORBIT, sub: EVENT.sub, iat: Number.NaN }))
})

test('isRevoked asks the store once more, for what was given while the event came', async () => {
  const { revocations: store } = await told()
  const basis = { iss: ORBIT, sub: CLAIMS.sub, iat: CLAIMS.iat }
  assert.equal(await isRevoked(basis, store, CLOCK), true)
  assert.equal(await isRevoked({ ...basis, iat: CLOCK + 6 }, store, CLOCK), false)
})

const refusalOf = async (assertion: string, context: ReturnType<typeof ras>) => {
  const verdict = await verify(assertion, context)
  return verdict.ok ? undefined : verdict.error
}

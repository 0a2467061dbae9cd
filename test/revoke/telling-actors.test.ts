// Agents that act for others, when they are stopped: what they had a part in is told of, nothing is minted with them
// while that is on its way, and nobody is permitted to act any more (rule 4, GR-07, EV-14, TX-19).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql, type Transaction } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import { listOwed, lockPairs } from '../../src/revoke/owed-queries.ts'
import { tellExpired } from '../../src/revoke/tell-expired.ts'
import { openHouse } from '../support/house.ts'
import {
  clientAssertion,
  entitle,
  newAgent,
  newUser,
  type StoryAgent,
  tellStory,
} from '../support/story.ts'
import { ENDPOINT, scenes } from './minted.ts'

const house = await openHouse({ after })
const { eventsAt, arrive, act, revoke } = scenes(house)

/** An agent of somebody else has acted for the client of a mint. */
async function acted({ audience = {}, user = {}, delegation = {} } = {}) {
  const story = await tellStory(house, {
    user,
    audience: { events_endpoint: ENDPOINT, ...audience },
  })
  await story.delegate(delegation)
  await story.signIn()
  const boss = await newUser(house, user)
  const actor = await newAgent(house, boss)
  const permit = async (members = {}) =>
    (await act('POST', '/actor-permissions', {
      ...{ agent_id: story.agent.id, actor_id: actor.id },
      ...members,
    })) as { id: string }
  const token = (of: StoryAgent, claims = {}) =>
    clientAssertion(house, of, {
      client_id: story.agent.client_id,
      ...claims,
      header: { typ: 'actor-token+jwt' },
    })
  const withToken = (actor_token: string) =>
    story.exchange({ actor_token, actor_token_type: TOKEN_TYPE.jwt })
  const withActor = async () => withToken(await token(actor))
  const permission = await permit()
  const answer = await withActor()
  assert.equal(answer.status, 200, answer.text)
  house.wait(1)
  return { story, boss, actor, permission, permit, token, withToken, withActor }
}

const explain = async ({ story, actor }: Awaited<ReturnType<typeof acted>>) =>
  act('POST', '/explain', {
    ...{ agent_id: story.agent.id, user_id: story.user.id, audience: story.audience.issuer },
    ...{ scope: 'docs.read', actor_id: actor.id },
  })

for (const event_names_agent of [true, false]) {
  const which = event_names_agent ? 'one that is told of the agent' : 'one that is told of all'
  test(`with an actor that was revoked nothing is minted while its event waits, at ${which} (EV-14)`, async () => {
    const scene = await acted({ audience: { event_names_agent } })
    const revoked = await revoke({ agent_id: scene.actor.id })
    assert.equal(revoked.events_queued, 1)
    const [event] = await eventsAt(scene.story)
    assert.equal(event?.agent_id, event_names_agent ? scene.actor.id : null)
    // Somebody permits it again at once: still the late event would end what is minted now.
    await scene.permit()
    const answer = await scene.withActor()
    assert.deepEqual([answer.status, answer.body.error], [503, 'temporarily_unavailable'])
    assert.match(String(answer.headers['retry-after']), /^[1-9]\d?$/)
    const why = await explain(scene)
    assert.deepEqual([why.reason, why.missing[0].record], ['revocation_pending', event?.id])
    assert.equal((await scene.story.exchange()).status, event_names_agent ? 200 : 503)
    await arrive(scene.story)
    assert.equal((await scene.withActor()).status, 200)
  })
}

test('an event about an actor that is queued while the ID-JAG is signed keeps it from being recorded (EV-14)', async () => {
  const scene = await acted({ audience: { event_names_agent: true } })
  await revoke({ agent_id: scene.actor.id })
  await arrive(scene.story)
  await scene.permit()
  const { keys } = house.deps
  const { sign } = keys
  keys.sign = async (...what) => {
    keys.sign = sign
    await house.deps.db
      .updateTable('event_deliveries')
      .set({ status: 'queued', delivered_at: null, next_attempt_at: house.clock.now })
      .where('audience_id', '=', scene.story.audience.id)
      .execute()
    return sign(...what)
  }
  assert.equal((await scene.withActor()).status, 503)
  assert.equal(keys.sign, sign, 'it came so far')
})

type Scene = Awaited<ReturnType<typeof acted>>

const STOPS: Record<string, (of: Scene) => Promise<{ revocation_id: string }>> = {
  'it is revoked': async ({ actor }) => stopped(await revoke({ agent_id: actor.id })),
  'its owner is revoked': async ({ boss }) => stopped(await revoke({ owner_id: boss.id })),
  'it is suspended': ({ actor }) => act('POST', `/agents/${actor.id}/suspend`, {}),
  'it is retired': ({ actor }) => act('POST', `/agents/${actor.id}/retire`, {}),
  'its owner is suspended': ({ boss }) =>
    act('PATCH', `/users/${boss.id}`, { status: 'suspended' }),
  'its owner is deleted': ({ boss }) => act('PATCH', `/users/${boss.id}`, { status: 'deleted' }),
}
const stopped = ({ id }: { id: string }) => ({ revocation_id: id })

for (const [what, stop] of Object.entries(STOPS)) {
  test(`the app is told of an agent that acted for another when ${what} (GR-07)`, async () => {
    const scene = await acted({ audience: { event_names_agent: true } })
    const { revocation_id } = await stop(scene)
    const events = await eventsAt(scene.story)
    assert.deepEqual(
      events.map((event) => [event.agent_id, event.revocation_id]),
      [[scene.actor.id, revocation_id]],
    )
    const { interrupts } = await act('GET', `/revocations/${revocation_id}`)
    assert.equal(interrupts, undefined)
  })

  test(`nobody is permitted to be acted for by an agent when ${what} (rule 4, TX-19)`, async () => {
    const scene = await acted()
    const { actor, permission, story } = scene
    const { revocation_id } = await stop(scene)
    const { data } = await act('GET', `/actor-permissions?actor_id=${actor.id}`)
    assert.deepEqual(
      data.map(({ id, status }: { id: string; status: string }) => [id, status]),
      [[permission.id, 'ended']],
    )
    const log = await act('GET', `/audit-events?type=actor_permission.ended&limit=1`)
    assert.equal(log.data[0].agent_id, story.agent.id)
    assert.deepEqual(log.data[0].detail, {
      actor_permission_id: permission.id,
      actor_id: actor.id,
      revocation_id,
    })
  })
}

test('by tenant nobody in it acts for another any more, and others are left alone (rule 4, TX-19)', async () => {
  const { id: tenant_id } = await act('POST', '/tenants', { name: 'Orbit' })
  const made = async (of = {}) => {
    const owner = await newUser(house, of)
    const [agent, actor] = [await newAgent(house, owner, of), await newAgent(house, owner, of)]
    const pair = { agent_id: agent.id, actor_id: actor.id }
    await act('POST', '/actor-permissions', pair)
    return async () => (await act('GET', `/actor-permissions?agent_id=${agent.id}`)).data[0].status
  }
  const [inside, outside] = [await made({ tenant_id }), await made()]
  await revoke({ tenant_id })
  assert.deepEqual([await inside(), await outside()], ['ended', 'active'])
})

test('what others may do for an agent that is revoked stays permitted, and does them no good', async () => {
  const scene = await acted()
  await revoke({ agent_id: scene.story.agent.id })
  const { data } = await act('GET', `/actor-permissions?actor_id=${scene.actor.id}`)
  assert.equal(data[0].status, 'active')
  await arrive(scene.story)
  assert.equal((await scene.withActor()).status, 400)
})

test('what the client has minted alone since an event about its actor is nothing to repeat it for (GR-08)', async () => {
  const scene = await acted()
  const { story, actor } = scene
  await revoke({ agent_id: actor.id })
  await arrive(story)
  assert.equal((await story.exchange()).status, 200)
  assert.equal((await revoke({ agent_id: actor.id })).events_queued, 0)
  await scene.permit()
  house.wait(1)
  assert.equal((await scene.withActor()).status, 200)
  assert.equal((await revoke({ agent_id: actor.id })).events_queued, 1)
  await arrive(story)
  assert.equal((await revoke({ agent_id: story.agent.id })).events_queued, 0, 'that covered all')
})

const proofOf = async (id: string) => {
  const { events, events_withheld } = await act('GET', `/revocations/${id}`)
  return [events.pending, events.delivered, events_withheld]
}
const inAnHour = () => new Date(house.clock.now.getTime() + 3_600_000).toISOString()
const moveAgent = ({ story }: Scene, expires_at: string) =>
  act('PATCH', `/agents/${story.agent.id}`, { expires_at })

const RUNS_OUT: Record<string, () => Promise<Scene>> = {
  'its delegation runs out': () =>
    acted({ audience: { notify_when: 'last' }, delegation: { expires_at: inAnHour() } }),
  'it is past its end': async () => {
    const scene = await acted({ audience: { notify_when: 'last' } })
    await moveAgent(scene, inAnHour())
    return scene
  },
  'its entitlement runs out': async () => {
    const scene = await acted({ audience: { notify_when: 'last' } })
    const { agent, audience } = scene.story
    await entitle(house, agent, audience, { expires_at: inAnHour() })
    return scene
  },
}

for (const [what, begin] of Object.entries(RUNS_OUT)) {
  test(`where the last ending is waited for, the app hears of an actor when the client cannot come any more: ${what} (GR-08)`, async () => {
    const scene = await begin()
    const { id } = await revoke({ agent_id: scene.actor.id })
    await tellExpired(house.deps)
    assert.deepEqual(await proofOf(id), [0, 0, 1], 'the client may still come')
    house.wait(3601)
    await tellExpired(house.deps)
    assert.deepEqual(await proofOf(id), [1, 0, undefined])
    await arrive(scene.story)
    await tellExpired(house.deps)
    assert.equal((await eventsAt(scene.story)).length, 1)
  })
}

for (const audience of [{ notify_when: 'each' }, { event_names_agent: true }]) {
  const [how] = Object.keys(audience)
  test(`an app that no longer waits for the last ending hears of the actor that it waited for, after a change of ${how} (GR-08)`, async () => {
    const scene = await acted({ audience: { notify_when: 'last' } })
    const { id } = await revoke({ agent_id: scene.actor.id })
    await act('PATCH', `/audiences/${scene.story.audience.id}`, audience)
    await tellExpired(house.deps)
    assert.deepEqual(await proofOf(id), [1, 0, undefined])
  })
}

test('a delegation under which an agent acted often is looked up once, not for each ID-JAG', async () => {
  const { story, actor } = await acted()
  /** How many delegations are read. The least of plans, so that the database does not come round it by a larger one. */
  const readFor = (ask: (tx: Transaction<Tables>) => Promise<unknown>) =>
    house.deps.db.transaction().execute(async (tx) => {
      for (const way of ['hashjoin', 'mergejoin', 'memoize', 'material', 'seqscan']) {
        await sql`set local ${sql.raw(`enable_${way}`)} = off`.execute(tx)
      }
      const soFar = async () => {
        const { rows } = await sql<{ read: number }>`
          select (coalesce(idx_tup_fetch, 0) + seq_tup_read)::int as read
          from pg_stat_xact_user_tables where relname = 'delegations'`.execute(tx)
        return rows[0]?.read ?? 0
      }
      const before = await soFar()
      await ask(tx)
      return (await soFar()) - before
    })
  const of = { agent_ids: [actor.id] }
  const lock = () => readFor((tx) => lockPairs(tx, of))
  const list = () => readFor((tx) => listOwed(tx, of, house.clock.now))
  const few = [await lock(), await list()]
  assert.ok(few.every((read) => read > 0))
  await house.deps.pool.query(
    `insert into issuances select (jsonb_populate_record(i, jsonb_build_object(
       'jti', n || '-' || i.jti, 'xid', pg_current_xact_id()::text))).*
     from issuances i, generate_series(1, 100) n where i.audience_id = $1`,
    [story.audience.id],
  )
  assert.deepEqual([await lock(), await list()], few)
})

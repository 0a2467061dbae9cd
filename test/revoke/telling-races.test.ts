// Mints that race with an ending: none is left without its event, and none comes after it (GR-08, EV-14).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { endReusedFamily } from '../../src/revoke/reused-family.ts'
import { authorize } from '../support/browser.ts'
import { type Answer, type Form, type House, openHouses } from '../support/house.ts'
import {
  clientAssertion,
  clientAuthentication,
  entitle,
  newAgent,
  newAudience,
  type Story,
  type StoryAgent,
  type Tokens,
  tellStory,
} from '../support/story.ts'

const [one, two] = await openHouses({ after })
const { db } = one.deps

type Racer = {
  story: Story
  agent: StoryAgent
  sibling: StoryAgent
  actor: StoryAgent
  tenant_id: string
}
type Field = Racer & { delegation: string; audience_id: string; spent: Tokens; tokens: Tokens }
type Ending = {
  end: (house: House, of: Field) => Promise<unknown>
  /** Whose mints are told of; otherwise the agent's alone. */
  ofAll?: true
  /** Another agent acts for it. */
  acting?: true
  consent?: 'admin'
}

const revoke = (house: House, reach: object) =>
  house.admin('POST', '/revocations', { ...reach, reason: 'left' })

const ENDINGS: Record<string, Ending> = {
  'a delegation ends': {
    end: (house, { delegation }) => house.admin('DELETE', `/delegations/${delegation}`),
  },
  'an agent is revoked': { end: (house, { agent }) => revoke(house, { agent_id: agent.id }) },
  'an entitlement ends': {
    end: (house, { agent, audience_id }) =>
      house.admin('DELETE', `/agents/${agent.id}/entitlements/${audience_id}`),
  },
  'users are asked from now on': {
    end: (house, { agent, audience_id }) => entitle(house, agent, { id: audience_id }),
    consent: 'admin',
  },
  'all of an audience is revoked': {
    end: (house, { audience_id }) => revoke(house, { audience_id }),
    ofAll: true,
  },
  'all of a user is revoked': {
    end: (house, { story }) => revoke(house, { user_id: story.user.id }),
    ofAll: true,
  },
  'all of an owner is revoked': {
    end: (house, { story }) => revoke(house, { owner_id: story.owner.id }),
    ofAll: true,
  },
  'all of a tenant is revoked': {
    end: (house, { tenant_id }) => revoke(house, { tenant_id }),
    ofAll: true,
  },
  'a refresh token comes back': {
    end: async (house, { agent, spent }) =>
      house.form('/oauth2/token', {
        grant_type: GRANT.refreshToken,
        refresh_token: spent.refresh_token,
        ...(await clientAuthentication(house, agent)),
      }),
  },
  'an agent that acts for it is revoked': {
    end: (house, { actor }) => revoke(house, { agent_id: actor.id }),
    acting: true,
  },
}

/** Two agents of one user, in a tenant of their own. */
async function racer(): Promise<Racer> {
  const { id: tenant_id } = (await one.admin('POST', '/tenants', { name: 'Orbit' })).body
  const story = await tellStory(one, { tenant_id, entitlement: null })
  const sibling = await newAgent(one, story.owner, { tenant_id })
  const actor = await newAgent(one, story.owner, { tenant_id })
  return { story, agent: story.agent, sibling, actor, tenant_id }
}

/** What was minted for a user at an audience that its event does not cover. */
const uncovered = async (audience_id: string) => {
  const { rows } = await one.deps.pool.query(
    `select i.jti from issuances i join event_deliveries e on e.audience_id = i.audience_id
     where i.audience_id = $1 and not pg_visible_in_snapshot(i.xid::text::xid8, e.covers)`,
    [audience_id],
  )
  return rows
}

/** Lets the others come so far. */
async function afterWhile(requests: number): Promise<void> {
  for (let n = 0; n < 2 * requests; n += 1) await one.inject({ method: 'GET', url: '/readyz' })
}

async function listen(of: Racer, name: string, { acting, consent }: Ending) {
  const audience = await newAudience(one, {
    issuer: `https://${name}.example`,
    tenant_id: of.tenant_id,
    events_endpoint: 'https://chat.example/events',
  })
  await entitle(one, of.agent, audience, consent && { consent })
  await entitle(one, of.sibling, audience)
  const delegate = (agent: StoryAgent) =>
    of.story.delegate({ agent_id: agent.id, audience_id: audience.id })
  const delegation = consent ? '' : (await delegate(of.agent)).id
  await delegate(of.sibling)
  if (acting) {
    const pair = { agent_id: of.agent.id, actor_id: of.actor.id }
    const { status, text } = await one.admin('POST', '/actor-permissions', pair)
    assert.equal(status, 201, text)
  }
  return { ...of, delegation, audience, audience_id: audience.id }
}

const actingFor = async ({ agent, actor }: Racer): Promise<Form> => ({
  actor_token: await clientAssertion(one, actor, {
    client_id: agent.client_id,
    header: { typ: 'actor-token+jwt' },
  }),
  actor_token_type: TOKEN_TYPE.jwt,
})

/** Both agents' tokens, and one of the first that is spent. */
async function signIn({ story, agent, sibling }: Racer) {
  // The last ending may have signed them out.
  story.browser.cookies.clear()
  const spent = await story.signIn(agent)
  const rotated = await one.form('/oauth2/token', {
    grant_type: GRANT.refreshToken,
    refresh_token: spent.refresh_token,
    ...(await clientAuthentication(one, agent)),
  })
  assert.equal(rotated.status, 200, rotated.text)
  return { spent, tokens: rotated.body as Tokens, theirs: await story.signIn(sibling) }
}

const ROUNDS = 3

for (const [what, ending] of Object.entries(ENDINGS)) {
  test(`whatever races when ${what}: each mint of the pair is covered by the event, or there was none`, async (t) => {
    const { end, ofAll, acting } = ending
    const racers = await Promise.all(Array.from({ length: 2 }, racer))
    let [granted, waiting, told] = [0, 0, 0]
    for (let round = 0; round < ROUNDS; round += 1) {
      const fields = racers.map((of, n) =>
        listen(of, `${round}.${n}.${what.replaceAll(' ', '')}`, ending),
      )
      for (const field of await Promise.all(fields)) {
        const { story, agent, sibling, audience } = field
        const signedIn = await signIn(field)
        const exchange = async (as: StoryAgent, { id_token }: Tokens) =>
          story.exchange(
            {
              subject_token: id_token,
              audience: audience.issuer,
              ...(as === agent && acting && (await actingFor(field))),
            },
            as,
          )
        const own = () => exchange(agent, signedIn.tokens)
        const theirs = () => exchange(sibling, signedIn.theirs)
        // Once there is something to be told of, whoever is first.
        if (round === ROUNDS - 1) assert.equal((await own()).status, 200)
        const answers = await Promise.all([
          ...[own(), theirs(), own()],
          afterWhile(round).then(() => end(round % 2 ? two : one, { ...field, ...signedIn })),
          ...[theirs(), own()],
        ])
        const statuses = answers.flatMap((answer) =>
          answer && typeof answer === 'object' && 'status' in answer ? [answer.status] : [],
        )
        granted += statuses.filter((status) => status === 200).length
        waiting += statuses.filter((status) => status === 503).length

        const minted = await db
          .selectFrom('issuances')
          .select(['agent_id', 'xid'])
          .where('audience_id', '=', audience.id)
          .execute()
        const events = await db
          .selectFrom('event_deliveries')
          .select(['id'])
          .where('audience_id', '=', audience.id)
          .execute()
        const owed = minted.some(({ agent_id }) => ofAll || agent_id === agent.id)
        if (owed) assert.equal(events.length, 1)
        told += events.length
        if (events.length === 0) continue
        assert.deepEqual(await uncovered(audience.id), [], 'minted although an event waited')
      }
    }
    assert.ok(told >= racers.length)
    t.diagnostic(`${granted} granted, ${waiting} had to wait, ${told} events`)
  })
}

const REUSES = {
  'refresh token': async ({ story, tokens }: Spent) => ({
    grant_type: GRANT.refreshToken,
    refresh_token: tokens.refresh_token,
    ...(await clientAuthentication(one, story.agent)),
  }),
  'authorization code': async ({ story, code }: Spent) => ({
    grant_type: GRANT.authorizationCode,
    ...code,
    ...(await clientAuthentication(one, story.agent)),
  }),
}
type Spent = { story: Story; tokens: Tokens; code: Awaited<ReturnType<typeof authorize>> }

for (const [what, comesBack] of Object.entries(REUSES)) {
  test(`a spent ${what} that comes back waits for what another agent of the user is minting (EV-14)`, async () => {
    const story = await tellStory(one, {
      audience: { events_endpoint: 'https://chat.example/events' },
    })
    await story.delegate()
    const sibling = await newAgent(one, story.owner)
    await entitle(one, sibling, story.audience)
    const { id: theirs } = await story.delegate({ agent_id: sibling.id })
    await story.signIn()
    assert.equal((await story.exchange()).status, 200)
    const code = await authorize(story.browser, story.agent, { scope: 'openid offline_access' })
    const redeem = async () => one.form('/oauth2/token', await REUSES['authorization code'](spent))
    const spent: Spent = { story, code, tokens: {} as Tokens }
    spent.tokens = (await redeem()).body
    await one.form('/oauth2/token', await REUSES['refresh token'](spent))

    let answered = false
    let answer: Promise<Answer> | undefined
    await db.transaction().execute(async (tx) => {
      const { rows } = await sql<{ pid: number }>`
        select pg_backend_pid() as pid from delegations where id = ${theirs} for share`.execute(tx)
      answer = one.form('/oauth2/token', await comesBack(spent)).finally(() => {
        answered = true
      })
      while (!answered && !(await isWaitedFor(rows[0]?.pid))) {}
      await sql`
        insert into issuances select (jsonb_populate_record(i, jsonb_build_object(
          'jti', 'late-' || i.jti, 'delegation_id', ${theirs}::text, 'agent_id', ${sibling.id}::text,
          'xid', pg_current_xact_id()::text))).*
        from issuances i where i.audience_id = ${story.audience.id}`.execute(tx)
    })
    assert.equal((await answer)?.body.error, 'invalid_grant')
    const events = await db
      .selectFrom('event_deliveries')
      .select('status')
      .where('audience_id', '=', story.audience.id)
      .execute()
    assert.deepEqual(events, [{ status: 'queued' }])
    assert.deepEqual(await uncovered(story.audience.id), [])
  })
}

for (const event_names_agent of [false, true]) {
  const which = event_names_agent ? 'one that is told of the agent' : 'one that is told of all'
  test(`what the same agent is minting in another session when a spent token comes back waits for the event, at ${which} (EV-14)`, async () => {
    const story = await tellStory(one, {
      audience: { events_endpoint: 'https://chat.example/events', event_names_agent },
    })
    await story.delegate()
    await story.signIn()
    assert.equal((await story.exchange()).status, 200)
    const family = await db
      .selectFrom('refresh_token_families')
      .select('id')
      .where('user_id', '=', story.user.id)
      .executeTakeFirstOrThrow()
    story.browser.cookies.clear()
    const { id_token } = await story.signIn()

    let answered = false
    let answer: Promise<Answer> | undefined
    await db.transaction().execute(async (tx) => {
      const ended = await endReusedFamily(tx, one.deps, {
        what: 'refresh_token',
        family_id: family.id,
        user_id: story.user.id,
        agent_id: story.agent.id,
      })
      assert.ok(ended)
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx)
      // It has read its facts, of which no event is one, and waits for the delegation.
      answer = story.exchange({ subject_token: id_token }).finally(() => {
        answered = true
      })
      while (!answered && !(await isWaitedFor(rows[0]?.pid))) {}
      assert.ok(!answered)
    })
    assert.equal((await answer)?.status, 503)
    assert.deepEqual(await uncovered(story.audience.id), [])
  })
}

async function isWaitedFor(pid: number | undefined): Promise<boolean> {
  const { rows } = await one.deps.pool.query(
    `select from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and $1 = any(pg_blocking_pids(pid))`,
    [pid],
  )
  return rows.length > 0
}

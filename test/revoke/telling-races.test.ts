// Mints that race with an ending: none is left without its event, and none comes after it (GR-08, EV-14).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { GRANT } from '../../src/oauth/names.ts'
import { authorize } from '../support/browser.ts'
import { type Answer, type House, openHouses } from '../support/house.ts'
import {
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

type Racer = { story: Story; agent: StoryAgent; sibling: StoryAgent }
type Ending = (
  house: House,
  of: Racer & { delegation: string; audience_id: string },
) => Promise<unknown>

const ENDINGS: Record<string, Ending> = {
  'a delegation ends': (house, { delegation }) =>
    house.admin('DELETE', `/delegations/${delegation}`),
  'an agent is revoked': (house, { agent }) =>
    house.admin('POST', '/revocations', { agent_id: agent.id, reason: 'left' }),
  'an entitlement ends': (house, { agent, audience_id }) =>
    house.admin('DELETE', `/agents/${agent.id}/entitlements/${audience_id}`),
  'all of an audience is revoked': (house, { audience_id }) =>
    house.admin('POST', '/revocations', { audience_id, reason: 'left' }),
}

/** Two agents of one user. */
async function racer(): Promise<Racer> {
  const story = await tellStory(one, { entitlement: null })
  const sibling = await newAgent(one, story.owner)
  return { story, agent: story.agent, sibling }
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

for (const [what, end] of Object.entries(ENDINGS)) {
  test(`whatever races when ${what}: each mint of the pair is covered by the event, or there was none`, async (t) => {
    const racers = await Promise.all(Array.from({ length: 4 }, racer))
    let [granted, waiting, told] = [0, 0, 0]
    for (let round = 0; round < 6; round += 1) {
      const fields = racers.map(async (of, n) => {
        const audience = await newAudience(one, {
          issuer: `https://${round}.${n}.${what.replaceAll(' ', '')}.example`,
          events_endpoint: 'https://chat.example/events',
        })
        await entitle(one, of.agent, audience)
        await entitle(one, of.sibling, audience)
        const delegate = (agent: StoryAgent) =>
          of.story.delegate({ agent_id: agent.id, audience_id: audience.id })
        const { id: delegation } = await delegate(of.agent)
        await delegate(of.sibling)
        return { ...of, delegation, audience }
      })
      for (const field of await Promise.all(fields)) {
        const { story, agent, sibling, audience } = field
        const tokens = [await story.signIn(agent), await story.signIn(sibling)] as const
        const exchange = (as: StoryAgent, subject_token: string) =>
          story.exchange({ subject_token, audience: audience.issuer }, as)
        const answers = await Promise.all([
          exchange(agent, tokens[0].id_token),
          exchange(sibling, tokens[1].id_token),
          exchange(agent, tokens[0].id_token),
          afterWhile(round).then(() =>
            end(round % 2 ? two : one, { ...field, audience_id: audience.id }),
          ),
          exchange(sibling, tokens[1].id_token),
          exchange(agent, tokens[0].id_token),
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
        const owed = minted.some(({ agent_id }) => agent_id === agent.id)
        if (owed) assert.equal(events.length, 1)
        told += events.length
        if (events.length === 0) continue
        assert.deepEqual(await uncovered(audience.id), [], 'minted although an event waited')
      }
    }
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

async function isWaitedFor(pid: number | undefined): Promise<boolean> {
  const { rows } = await one.deps.pool.query(
    `select from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and $1 = any(pg_blocking_pids(pid))`,
    [pid],
  )
  return rows.length > 0
}

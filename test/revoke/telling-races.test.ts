// Mints that race with an ending: none is left without its event, and none comes after it (GR-08, EV-14).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { type House, openHouses } from '../support/house.ts'
import {
  entitle,
  newAgent,
  newAudience,
  type Story,
  type StoryAgent,
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
        const { rows } = await one.deps.pool.query(
          `select i.jti from issuances i join event_deliveries e on e.audience_id = i.audience_id
           where i.audience_id = $1 and not pg_visible_in_snapshot(i.xid::text::xid8, e.covers)`,
          [audience.id],
        )
        assert.deepEqual(rows, [], 'minted although an event waited')
      }
    }
    t.diagnostic(`${granted} granted, ${waiting} had to wait, ${told} events`)
  })
}

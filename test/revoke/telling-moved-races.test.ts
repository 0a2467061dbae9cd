// Mints and endings that race with the approval of another issuer: what the server of before gave is told of there.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { pendingAfter } from '../../src/audiences/discovery.ts'
import { insertDiscovery } from '../../src/audiences/discovery-queries.ts'
import { type Answer, openHouses } from '../support/house.ts'
import { entitle, newAgent, newAudience, type StoryAgent, tellStory } from '../support/story.ts'

const [one, two] = await openHouses({ after })
const { db } = one.deps
const ENDPOINT = 'https://chat.example/events'

/** An audience whose documents name another issuer by now. */
async function movingAudience(name: string) {
  const [before, next] = [`https://${name}.before.example`, `https://${name}.next.example`]
  const audience = await newAudience(one, { issuer: before, events_endpoint: ENDPOINT })
  const found = {
    issuer: before,
    profile: 'idjag' as const,
    name,
    resources: [],
    dpop_required: false,
    endpoints: {},
    events: null,
    ignored: [],
  }
  const at = one.clock.now
  const pending = pendingAfter({ found, pending: null }, { ...found, issuer: next }, at)
  await insertDiscovery(db, {
    audience_id: audience.id,
    tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
    url: before,
    documents: [],
    found,
    pending,
    stopped: false,
    flags: [],
    asked_at: at,
    read_at: at,
    expires_at: at,
    next_read_at: new Date(at.getTime() + 86_400_000),
  })
  return { ...audience, next }
}

/** Lets the others come so far. */
async function afterWhile(requests: number): Promise<void> {
  for (let n = 0; n < 2 * requests; n += 1) await one.inject({ method: 'GET', url: '/readyz' })
}

const audOf = ({ body }: Answer) => decodeJwt(body.access_token)

test('whatever races with an approval: each mint for the server of before is covered by an event to it (GR-07, EV-14)', async (t) => {
  const racers = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const story = await tellStory(one, { entitlement: null })
      return { story, agent: story.agent, sibling: await newAgent(one, story.owner) }
    }),
  )
  const [counted, aside] = [{ before: 0, next: 0, events: 0 }, new Set<number>()]
  for (let round = 0; round < 8; round += 1) {
    await Promise.all(
      racers.map(async ({ story, agent, sibling }, n) => {
        const audience = await movingAudience(`${round}-${n}`)
        await entitle(one, agent, audience)
        await entitle(one, sibling, audience)
        const delegate = (to: StoryAgent) =>
          story.delegate({ agent_id: to.id, audience_id: audience.id })
        const { id } = await delegate(agent)
        await delegate(sibling)
        const tokens = [await story.signIn(agent), await story.signIn(sibling)] as const
        const mint = (as: StoryAgent, token = 0, issuer = audience.issuer) =>
          story.exchange({ subject_token: tokens[token]?.id_token ?? '', audience: issuer }, as)
        const end = () =>
          n === 0
            ? one.admin('DELETE', `/delegations/${id}`)
            : n === 1
              ? one.admin('POST', '/revocations', { agent_id: agent.id, reason: 'left' })
              : one.admin('POST', '/revocations', { audience_id: audience.id, reason: 'left' })
        const [approved, ended, ...answers] = await Promise.all([
          afterWhile(round).then(() =>
            two.admin('POST', `/audiences/${audience.id}/approve-change`),
          ),
          afterWhile(8 - round).then(end),
          mint(agent),
          mint(sibling, 1),
          mint(agent),
          afterWhile(round).then(() => mint(sibling, 1)),
          afterWhile(round + 1).then(() => mint(sibling, 1, audience.next)),
        ])
        assert.equal(approved.status, 200, approved.text)
        assert.ok(ended.status < 300, ended.text)
        const minted = answers.filter(({ status }) => status === 200).map(audOf)
        for (const { status } of answers) if (status !== 200) aside.add(status)
        const before = minted.filter(({ aud }) => aud === audience.issuer)
        counted.before += before.length
        counted.next += minted.length - before.length
        const { rows } = await one.deps.pool.query(
          `select i.jti from issuances i where i.jti = any($2::text[]) and not exists (
             select from event_deliveries e where e.audience_id = $1 and e.aud = $3
               and pg_visible_in_snapshot(i.xid::text::xid8, e.covers))`,
          [audience.id, before.map(({ jti }) => jti), audience.issuer],
        )
        assert.deepEqual(rows, [], 'an ID-JAG that the server of before is not told of')
        counted.events += approved.body.events_queued
      }),
    )
  }
  // Nothing broke: who came too late was told so, or to wait.
  assert.deepEqual(
    [...aside].filter((status) => status !== 400 && status !== 503),
    [],
  )
  const broken = [...one.logs, ...two.logs].filter((line) => /deadlock|"level":50/.test(line))
  assert.deepEqual(broken, [])
  assert.ok(counted.before > 0, 'nothing was minted before an approval')
  t.diagnostic(JSON.stringify(counted))
})

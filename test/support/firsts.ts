/** What is made by whoever comes first, asked for at two servers at once: it is made once, and all find it. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { exchange } from './contestant-requests.ts'
import type { ContestantSite } from './contestant-site.ts'
import { type Contestant, makeContestants } from './contestants.ts'
import type { Answer } from './house.ts'
import { type Arena, inLanes, tally } from './race.ts'

const TIMES = 4

/** The same exchange, so many times at once, at each replica in turn. */
const atOnce = ({ replicas }: Arena, of: Contestant, times = TIMES): Promise<Answer[]> =>
  Promise.all(Array.from({ length: times }, (_, turn) => exchange(replicas[turn % 2 ? 1 : 0], of)))

/** The question to a user who has not been asked yet. */
export async function contestQuestions(arena: Arena, size: number): Promise<void> {
  const contestants = await makeContestants(arena.db, size, { delegation: null })
  await inLanes(contestants, async (of) => {
    const answers = await atOnce(arena, of)
    assert.deepEqual(tally(answers), { interaction_required: TIMES })
    assert.equal(new Set(answers.map(({ body }) => body.interaction_uri)).size, 1)
  })
  await assertOne(
    arena,
    'interactions',
    'user_id',
    contestants.map(({ user_id }) => user_id),
  )
}

/** The user of a subject that a trusted issuer vouches for. */
export async function contestUsers(
  arena: Arena,
  { jwksUri }: ContestantSite,
  size: number,
): Promise<void> {
  const contestants = await makeContestants(arena.db, size, {
    upstream: jwksUri,
    provisioning: 'create',
    consent: 'admin',
    delegation: null,
  })
  await inLanes(contestants, async (of) => {
    const answers = await atOnce(arena, of)
    assert.deepEqual(tally(answers), { granted: TIMES })
    const subjects = answers.map(({ body }) => decodeJwt(body.access_token).sub)
    assert.equal(new Set(subjects).size, 1)
  })
  const subjects = contestants.map(({ upstream }) => upstream?.subject as string)
  await assertOne(arena, 'upstream_accounts', 'subject', subjects)
  await assertOne(arena, 'users', 'external_id', subjects)
}

/** The agent of a client whose host may come. */
export async function contestAgents(
  arena: Arena,
  { host, clients }: ContestantSite,
  size: number,
): Promise<void> {
  const made = await makeContestants(arena.db, size)
  const { status, text } = await arena.replicas[0].admin('POST', '/client-metadata-rules', {
    host,
    owner_id: made[0]?.owner_id,
    purpose: 'races',
    agent_expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  })
  assert.equal(status, 201, text)
  const urls = await inLanes(made, async (one) => {
    const document = { url: `${clients}/${randomUUID()}`, rule_id: '' }
    // It comes with somebody else's refresh token: it is known by then.
    assert.deepEqual(tally(await atOnce(arena, { ...one, document })), { invalid_grant: TIMES })
    return document.url
  })
  await assertOne(arena, 'agents', 'client_metadata_url', urls)
}

/** First delegations in one sector, at two audiences and two replicas at once: one subject each (IJ-35). */
export async function contestSubjects({ replicas, db, pool }: Arena, size: number): Promise<void> {
  const contestants = await makeContestants(db, size, {
    delegation: null,
    elsewhere: true,
    audience: { subject_type: 'pairwise', sector: 'paperclip.example' },
  })
  await inLanes(contestants, async (of) => {
    const { user_id, agent_id } = of
    const audiences = [of.audience_id, of.elsewhere?.audience_id]
    const made = await Promise.all(
      replicas.flatMap((at) =>
        audiences.map((audience_id) =>
          at.admin('POST', '/delegations', {
            ...{ user_id, agent_id, audience_id },
            scopes: ['docs.read'],
            mode: 'always',
          }),
        ),
      ),
    )
    for (const { status, text } of made) assert.equal(status, 201, text)
  })
  const { rows } = await pool.query(
    `select user_id, count(distinct sub_asserted)::int as asserted, count(distinct sub)::int as kept,
       bool_and(sub = sub_asserted) as same
     from delegations left join pairwise_subjects using (user_id)
     where user_id = any($1) group by user_id`,
    [contestants.map(({ user_id }) => user_id)],
  )
  assert.equal(rows.length, size)
  for (const { user_id: _, ...row } of rows) {
    assert.deepEqual(row, { asserted: 1, kept: 1, same: true })
  }
  await inLanes(contestants, async (of, index) => {
    const audience = [of.issuer, of.elsewhere?.issuer]
    const told = await Promise.all(
      audience.map((audience) => exchange(replicas[index % 2 ? 1 : 0], of, { audience })),
    )
    assert.deepEqual(tally(told), { granted: 2 })
    const subjects = told.map(({ body }) => decodeJwt(body.access_token).sub)
    assert.equal(new Set(subjects).size, 1)
    assert.match(String(subjects[0]), /^p_/)
  })
}

/** First mints where an administrator consents, at both replicas at once: one delegation, for all of them. */
export async function contestFirstMints(arena: Arena, size: number): Promise<void> {
  const contestants = await makeContestants(arena.db, size, { consent: 'admin', delegation: null })
  await inLanes(contestants, async (of) => {
    assert.deepEqual(tally(await atOnce(arena, of, 2 * TIMES)), { granted: 2 * TIMES })
  })
  const { rows } = await arena.pool.query(
    `select agent_id from unnest($1::text[]) as asked(agent_id)
     where 1 <> (select count(*) from delegations d where d.agent_id = asked.agent_id)
       or 1 <> (select count(*) from audit_events e
                where e.agent_id = asked.agent_id and e.type = 'delegation.granted')
       or 1 <> (select count(distinct i.delegation_id) from issuances i where i.agent_id = asked.agent_id)`,
    [contestants.map(({ agent_id }) => agent_id)],
  )
  assert.deepEqual(rows, [], 'more than one delegation')
}

/** That there is one row of each of these. */
async function assertOne(
  { pool }: Arena,
  table: string,
  column: string,
  values: readonly string[],
): Promise<void> {
  const { rows } = await pool.query(
    `select value, count(found.*)::int as rows from unnest($1::text[]) as asked(value)
     left join ${table} as found on found.${column} = asked.value
     group by value having count(found.*) <> 1`,
    [values],
  )
  assert.deepEqual(rows, [])
}

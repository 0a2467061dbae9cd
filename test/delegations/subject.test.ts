// By which `sub` an audience knows a user.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { decodeJwt } from 'jose'
import { newId } from '../../src/db/ids.ts'
import { grantByPolicy } from '../../src/delegations/policy-grant.ts'
import { subjectFor } from '../../src/delegations/subject.ts'
import { openHouse } from '../support/house.ts'
import { makeParties, makeUser, type Parties } from '../support/parties.ts'
import { entitle, newAudience, tellStory } from '../support/story.ts'

const house = await openHouse({ after })
const { db } = house.deps

const PAIRWISE = /^p_[A-Za-z0-9_-]{22}$/
const pairwise = (sector: string) => ({ subject_type: 'pairwise', sector }) as const
const PUBLIC = { subject_type: 'public', sector: null } as const

const keptFor = (user_id: string) =>
  db
    .selectFrom('pairwise_subjects')
    .select(['sector', 'sub'])
    .where('user_id', '=', user_id)
    .orderBy('sector')
    .execute()

async function allow({ user_id, agent_id, audience_id }: Parties) {
  const body = { user_id, agent_id, audience_id, scopes: ['chat.read'], mode: 'always' }
  const answer = await house.admin('POST', '/delegations', body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body.sub_asserted as string
}

test('a public audience is told the user’s id, and nothing is kept for it (IJ-30)', async () => {
  const of = await makeParties(house)
  assert.equal(await allow(of), of.user_id)
  assert.deepEqual(await keptFor(of.user_id), [])
})

test('a pairwise sub is the same however often and by whomever it is allowed, and says nothing (IJ-31, IJ-33, IJ-35)', async () => {
  const of = await makeParties(house, {
    audience: pairwise('chat.example'),
    entitlement: { consent: 'admin' },
  })
  const sub = await allow(of)
  assert.match(sub, PAIRWISE)
  assert.equal(await allow(of), sub, 'a newer delegation')
  assert.deepEqual(await keptFor(of.user_id), [{ sector: 'chat.example', sub }])

  const again = await makeParties(house, {
    audience: pairwise('chat.example'),
    entitlement: { consent: 'admin' },
  })
  const by = { kind: 'agent', id: again.agent_id } as const
  const { tenant_id, user_id } = of
  const { agent_id, audience_id } = again
  const three = { tenant_id, user_id, agent_id, audience_id }
  assert.equal(await grantByPolicy(house.deps, three, by), 'made')
  const policy = await db
    .selectFrom('delegations')
    .select('sub_asserted')
    .where('audience_id', '=', audience_id)
    .executeTakeFirst()
  assert.equal(policy?.sub_asserted, sub, 'another app of the sector, by policy')
})

test('one user, one sector: one sub, whoever makes it first, and no two alike (IJ-35)', async () => {
  const users = [await makeUser(house), await makeUser(house), await makeUser(house)]
  const told = new Map<string, string>()
  const asks = fc.array(fc.tuple(fc.nat(2), fc.constantFrom('a.example', 'b.example', 'c')), {
    minLength: 1,
    maxLength: 12,
  })
  await fc.assert(
    fc.asyncProperty(asks, async (wanted) => {
      await Promise.all(
        wanted.map(async ([index, sector]) => {
          const user = users[index] ?? assert.fail()
          const of = { user_id: user.id, tenant_id: user.tenant_id }
          const sub = await db
            .transaction()
            .execute((tx) => subjectFor(tx, of, pairwise(sector), house.deps.now()))
          assert.match(sub, PAIRWISE)
          const pair = `${user.id} ${sector}`
          assert.equal(told.get(pair) ?? sub, sub)
          told.set(pair, sub)
        }),
      )
      assert.equal(new Set(told.values()).size, told.size)
    }),
    { numRuns: 30 },
  )
})

test('grants that need one new sub at the same time agree on it', async () => {
  for (let round = 0; round < 15; round += 1) {
    const sector = `round-${round}.example`
    const first = await makeParties(house, { audience: pairwise(sector) })
    const others = await Promise.all(
      Array.from({ length: 4 }, () => makeParties(house, { audience: pairwise(sector) })),
    )
    const all = [first, ...others.map((one) => ({ ...one, user_id: first.user_id }))]
    const subs = await Promise.all(all.map(allow))
    assert.equal(new Set(subs).size, 1)
    assert.match(subs[0] ?? '', PAIRWISE)
  }
})

test('a grant that was not to be leaves no sub behind', async () => {
  const of = await makeParties(house, { audience: pairwise('chat.example') })
  const { user_id, agent_id, audience_id } = of
  const body = { user_id, agent_id, audience_id, scopes: ['admin'], mode: 'always' }
  assert.equal((await house.admin('POST', '/delegations', body)).status, 422)
  assert.deepEqual(await keptFor(user_id), [])
})

test('a sub outlives its user, and nobody gets it after them (IJ-32)', async () => {
  const email = 'gone.for.good@orbit.example'
  const of = await makeParties(house, { user: { email }, audience: pairwise('chat.example') })
  const sub = await allow(of)
  await house.admin('PATCH', `/users/${of.user_id}`, { status: 'deleted' })
  assert.deepEqual(await keptFor(of.user_id), [{ sector: 'chat.example', sub }])
  const successor = await makeUser(house, { email })
  assert.notEqual(await allow({ ...of, user_id: successor.id }), sub)
})

test('no sub is the name of a client (SE-09)', async () => {
  const { id, tenant_id } = await makeUser(house)
  const subs = await db.transaction().execute(async (tx) => {
    const of = { user_id: id, tenant_id }
    const now = house.deps.now()
    return [await subjectFor(tx, of, PUBLIC, now), await subjectFor(tx, of, pairwise('x'), now)]
  })
  const client = newId('agt')
  for (const sub of subs) {
    assert.notEqual(sub.slice(0, 4), client.slice(0, 4))
    assert.ok(!URL.canParse(sub), 'a client may be named by a URL')
  }
})

test('an ID-JAG says the sub of its audience: one in a sector, another elsewhere', async () => {
  const sector = { subject_type: 'pairwise', sector: 'paperclip.example' }
  const story = await tellStory(house, { audience: sector })
  const issuer = 'https://second.paperclip.example'
  const sibling = await newAudience(house, { issuer, ...sector })
  const stranger = await newAudience(house, {
    issuer: 'https://stapler.example',
    subject_type: 'pairwise',
  })
  await story.delegate()
  for (const audience of [sibling, stranger]) {
    await entitle(house, story.agent, audience)
    await story.delegate({ audience_id: audience.id })
  }
  const subAt = async (audience: { issuer: string }) => {
    const answer = await story.exchange({ audience: audience.issuer })
    assert.equal(answer.status, 200, answer.text)
    return decodeJwt(answer.body.access_token).sub
  }
  const [own, siblings, strangers] = [
    await subAt(story.audience),
    await subAt(sibling),
    await subAt(stranger),
  ]
  assert.match(own ?? '', PAIRWISE)
  assert.equal(siblings, own)
  assert.match(strangers ?? '', PAIRWISE)
  assert.notEqual(strangers, own)
  assert.deepEqual(
    (await keptFor(story.user.id)).map((one) => one.sector),
    ['paperclip.example', 'stapler.example'],
    'the default sector is the host of the issuer',
  )
})

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import { decodeJwt, SignJWT } from 'jose'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import { type House, openHouse } from '../support/house.ts'
import { assertRefusal, refusalsSince } from '../support/refusals.ts'
import {
  clientAssertion,
  newAgent,
  type Story,
  type StoryAgent,
  tellStory,
} from '../support/story.ts'

let house: House
let story: Story
let writer: StoryAgent
let reader: StoryAgent

before(async (t) => {
  house = await openHouse(t as never)
  story = await tellStory(house)
  await story.delegate({ scopes: ['docs.read', 'docs.write'] })
  writer = await newAgent(house, story.owner, { name: 'Sub-agent' })
  reader = await newAgent(house, story.owner, { name: 'Sub-sub-agent' })
})

type Claims = Record<string, unknown> & { header?: object }

/** What an actor presents, with nothing wrong but for what is asked otherwise. */
const actorToken = (actor: StoryAgent, { header = {}, ...claims }: Claims = {}) =>
  clientAssertion(house, actor, {
    client_id: story.agent.client_id,
    ...claims,
    header: { typ: 'actor-token+jwt', ...header },
  })

async function permit(members: object = {}): Promise<string> {
  const body = { agent_id: story.agent.id, actor_id: writer.id, ...members }
  const { status, text, body: made } = await house.admin('POST', '/actor-permissions', body)
  assert.equal(status, 201, text)
  return made.id
}
const unpermit = (id: string) => house.admin('DELETE', `/actor-permissions/${id}`)

/** Runs with a permission that is taken back afterwards. */
async function permitted<T>(members: object, run: (id: string) => Promise<T>): Promise<T> {
  const id = await permit(members)
  try {
    return await run(id)
  } finally {
    await unpermit(id)
  }
}

const exchange = (actor_token: string, more: object = {}) =>
  story.exchange({ actor_token, actor_token_type: TOKEN_TYPE.jwt, ...more })

const refused = (actor_token: () => Promise<string>, expected: [number, string, string]) =>
  assertRefusal(house, async () => exchange(await actor_token()), expected)

test('an agent that is permitted acts for the client, and the ID-JAG says so (TX-19, IJ-12)', async () => {
  await permitted({}, async () => {
    const answer = await exchange(await actorToken(writer))
    assert.equal(answer.status, 200, answer.text)
    const claims = decodeJwt(answer.body.access_token)
    assert.deepEqual(claims['act'], { sub: writer.id, act: { sub: story.agent.id } })
    assert.equal(claims['client_id'], 'client-at-paperclip')
    const { body } = await house.admin('GET', `/issuances?jti=${claims.jti}`)
    assert.deepEqual(body.data[0].actor_ids, [writer.id])
  })
})

test('actors of actors nest newest outermost, each pair permitted (TX-19, IJ-12)', async () => {
  await permitted({}, () =>
    permitted({ agent_id: writer.id, actor_id: reader.id }, async () => {
      const inner = await actorToken(writer)
      const answer = await exchange(await actorToken(reader, { actor_token: inner }))
      assert.equal(answer.status, 200, answer.text)
      const act = { sub: reader.id, act: { sub: writer.id, act: { sub: story.agent.id } } }
      assert.deepEqual(decodeJwt(answer.body.access_token)['act'], act)
    }),
  )
  await permitted({}, async () => {
    const inner = await actorToken(writer)
    await refused(() => actorToken(reader, { actor_token: inner }), NOT_PERMITTED)
  })
})

const NOT_PERMITTED: [number, string, string] = [400, 'access_denied', 'actor_not_permitted']
const BAD: [number, string, string] = [400, 'invalid_grant', 'bad_actor_token']

test('scopes only shrink to what the permission says (TX-12, TX-19)', async () => {
  await permitted({ scopes: ['docs.read'] }, async () => {
    const answer = await exchange(await actorToken(writer), { scope: 'docs.read docs.write' })
    assert.equal(answer.body.scope, 'docs.read')
    await assertRefusal(
      house,
      async () => exchange(await actorToken(writer), { scope: 'docs.write' }),
      [400, 'invalid_scope', 'scope_not_entitled'],
    )
  })
  const both = { scopes: ['docs.write'] }
  await permitted({ scopes: ['docs.read'] }, () =>
    permitted(both, async () => {
      const answer = await exchange(await actorToken(writer), { scope: 'docs.read docs.write' })
      assert.equal(answer.body.scope, 'docs.read docs.write', 'several permissions add up')
    }),
  )
})

test('nothing of a request says who acts but the actor token (TX-20)', async () => {
  await permitted({}, async () => {
    const answer = await exchange(await actorToken(writer), { act: '{"sub":"agt_x"}' })
    assert.deepEqual(decodeJwt(answer.body.access_token)['act'], {
      sub: writer.id,
      act: { sub: story.agent.id },
    })
  })
})

test('a permission reaches its user, its audience and its time alone (TX-19)', async () => {
  const elsewhere = await tellStory(house)
  for (const members of [
    { user_id: story.owner.id },
    { audience_id: elsewhere.audience.id },
    { agent_id: elsewhere.agent.id },
    { agent_id: reader.id },
  ]) {
    // The client has a permission of some kind, so that actor tokens are on.
    await permitted({ actor_id: reader.id }, () =>
      permitted(members, () => refused(() => actorToken(writer), NOT_PERMITTED)),
    )
  }
  const expires_at = new Date(house.clock.now.getTime() + 60_000).toISOString()
  await permitted(
    { expires_at, audience_id: story.audience.id, user_id: story.user.id },
    async () => {
      assert.equal((await exchange(await actorToken(writer))).status, 200)
      house.wait(60)
      await refused(() => actorToken(writer), NOT_PERMITTED)
    },
  )
})

test('a permission that was taken back permits nothing any more, at once (TX-19)', async () => {
  await permitted({ actor_id: reader.id }, async () => {
    const id = await permit()
    assert.equal((await exchange(await actorToken(writer))).status, 200)
    await unpermit(id)
    await refused(() => actorToken(writer), NOT_PERMITTED)
  })
})

for (const [what, make] of [
  ['of another client', () => actorToken(writer, { client_id: reader.client_id })],
  ['that names no client', () => actorToken(writer, { client_id: undefined })],
  ['for another server', () => actorToken(writer, { aud: 'https://other.example' })],
  [
    'for two servers',
    () => actorToken(writer, { aud: [house.config.issuer, 'https://x.example'] }),
  ],
  ['that has expired', () => actorToken(writer, { exp: now() - 61 })],
  ['that lives for hours', () => actorToken(writer, { exp: now() + 3600 })],
  ['without an end', () => actorToken(writer, { exp: undefined })],
  ['without a jti', () => actorToken(writer, { jti: undefined })],
  ['that speaks for somebody else', () => actorToken(writer, { iss: reader.id })],
  ['by a key of another agent', () => actorToken({ ...writer, privateKey: reader.privateKey })],
  ['of an agent that nobody enrolled', () => actorToken({ ...writer, client_id: 'agt_unknown' })],
  ['of the client itself', () => actorToken(story.agent)],
  ['that is a client assertion', () => clientAssertion(house, writer)],
  [
    'that is a client assertion of the right type',
    () => actorToken(writer, { header: { typ: 'client-authentication+jwt' } }),
  ],
  ['of type JWT', () => actorToken(writer, { header: { typ: 'JWT' } })],
  ['without a type', () => actorToken(writer, { header: { typ: undefined } })],
  ['that is no JWT', async () => 'a.b.c'],
  [
    'within which the same agent acts again',
    async () => actorToken(writer, { actor_token: await actorToken(writer) }),
  ],
  [
    'around something else than a token',
    () => actorToken(writer, { actor_token: { sub: 'agt_x' } }),
  ],
  ['around four of them', () => nested(4)],
  ['named by a NUL', () => actorToken({ ...writer, client_id: 'agt_\0' })],
] as [string, () => Promise<string>][]) {
  test(`refuses an actor token ${what} (TX-19, TV-60)`, async () => {
    await permitted({}, () => refused(make, BAD))
  })
}

const now = () => Math.floor(house.clock.now.getTime() / 1000)

/** So many tokens within one another. */
async function nested(depth: number): Promise<string> {
  let token: string | undefined
  for (let level = 0; level < depth; level += 1) {
    token = await actorToken(level % 2 === 0 ? writer : reader, { actor_token: token })
  }
  return token as string
}

test('an actor token is no client assertion, and no subject token (TV-60)', async () => {
  const client_assertion = await actorToken(story.agent)
  const answer = await story.exchange({ client_assertion })
  assert.equal(`${answer.status} ${answer.body.error}`, '401 invalid_client', answer.text)
  const subject_token = await actorToken(story.agent)
  await assertRefusal(house, () => story.exchange({ subject_token }), [
    400,
    'invalid_grant',
    'issuer_not_trusted',
  ])
})

test('an actor token serves once, also as a part of another one (TX-19)', async () => {
  await permitted({}, async () => {
    const token = await actorToken(writer)
    assert.equal((await exchange(token)).status, 200)
    await refused(async () => token, [400, 'invalid_grant', 'replayed_actor_token'])
    await permitted({ agent_id: writer.id, actor_id: reader.id }, () =>
      refused(
        () => actorToken(reader, { actor_token: token }),
        [400, 'invalid_grant', 'replayed_actor_token'],
      ),
    )
  })
})

test('an actor that was stopped, or whose owner is gone, acts for nobody (TX-19)', async () => {
  await permitted({ actor_id: reader.id }, async () => {
    const before = await permit()
    await house.admin('POST', `/agents/${writer.id}/suspend`, {})
    await refused(() => actorToken(writer), [400, 'invalid_grant', 'actor_inactive'])
    await house.admin('POST', `/agents/${writer.id}/resume`, {})
    await refused(() => actorToken(writer), NOT_PERMITTED)
    await unpermit(before)
    await permitted({}, async () => {
      const answer = await exchange(await actorToken(writer))
      assert.equal(answer.status, 200, answer.text)
    })
  })
})

test('a block of the actor stands in the way like one of the client (TX-16)', async () => {
  await permitted({}, async () => {
    const block = { agent_id: writer.id, audience_id: story.audience.id, reason: 'under review' }
    const { body } = await house.admin('POST', '/blocks', block)
    await refused(() => actorToken(writer), NOT_PERMITTED)
    assert.equal((await story.exchange()).status, 200, 'the client itself is not blocked')
    await house.admin('DELETE', `/blocks/${body.id}`)
    assert.equal((await exchange(await actorToken(writer))).status, 200)
  })
})

test('a refused actor costs no `once`, and its jti is spent (GR-02)', async () => {
  const once = await tellStory(house)
  await once.delegate({ mode: 'once' })
  const permission = { agent_id: once.agent.id, actor_id: reader.id }
  await permitted(permission, async () => {
    const of = { client_id: once.agent.client_id }
    const bad = await actorToken(writer, of)
    const answer = await once.exchange({ actor_token: bad, actor_token_type: TOKEN_TYPE.jwt })
    assert.equal(answer.body.error, 'access_denied', answer.text)
    const good = { actor_token: await actorToken(reader, of), actor_token_type: TOKEN_TYPE.jwt }
    assert.equal((await once.exchange(good)).status, 200)
  })
  assert.deepEqual(await refusalsSince(house, new Date(house.clock.now.getTime() + 1000)), [])
})

test('an actor token signed by nobody at all is refused (SE-15)', async () => {
  await permitted({}, async () => {
    const [, body] = (await actorToken(writer)).split('.')
    const header = Buffer.from('{"alg":"none","typ":"actor-token+jwt"}').toString('base64url')
    await refused(async () => `${header}.${body}.`, BAD)
    const hmac = await new SignJWT(decodeJwt(await actorToken(writer)))
      .setProtectedHeader({ alg: 'HS256', typ: 'actor-token+jwt' })
      .sign(Buffer.from(randomUUID().repeat(2)))
    await refused(async () => hmac, BAD)
  })
})

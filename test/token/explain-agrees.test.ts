// Whatever the records say and whatever is asked: `POST /explain` and the token endpoint never disagree.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { decodeJwt } from 'jose'
import { TOKEN_TYPE, TYP } from '../../src/oauth/names.ts'
import { becomeWorld, type Place } from '../support/become-world.ts'
import { newDpopKey, proving } from '../support/dpop.ts'
import { answered, explained, verdictOf } from '../support/explain.ts'
import { openHouse } from '../support/house.ts'
import { clientAssertion, newAgent, tellStory } from '../support/story.ts'
import { anyRequest, anyWorld, type Request, type World } from '../support/worlds.ts'

/** Worlds of the property; EXPLAIN_RUNS=3000 for a long look. */
const numRuns = Number(process.env.EXPLAIN_RUNS ?? 60)

// How many fail in a minute is not explained.
const house = await openHouse({ after }, { RATE_LIMITS: 'off' })
const story = await tellStory(house)
const actor = await newAgent(house, story.owner)
const { id_token, refresh_token } = await story.signIn()
const claims = decodeJwt(id_token)
const key = await newDpopKey()
const cast = {
  tenant_id: 'ten_AAAAAAAAAAAAAAAAAAAAAA',
  user_id: story.user.id,
  owner_id: story.owner.id,
  agent_id: story.agent.id,
  actor_id: actor.id,
  ...(await house.deps.db
    .selectFrom('refresh_token_families')
    .select(['id as family_id', 'session_id'])
    .executeTakeFirstOrThrow()),
}

/** The same sign-in, as if it had been refreshed just now. */
async function freshIdToken(): Promise<string> {
  const iat = Math.floor(house.clock.now.getTime() / 1000)
  const fresh = { ...claims, iat, exp: iat + 300 }
  return (await house.deps.keys.sign('id_token', 'RS256', TYP.idToken, fresh)).jws
}

const audiencesOf = ({ audience }: Request, { issuer, alias }: Place): string | string[] =>
  ({
    'its own': issuer,
    alias,
    slash: `${issuer}/`,
    unknown: 'https://unknown.example',
    two: [issuer, 'https://unknown.example'],
  })[audience]

/** Who signs is the actor, and who it says it is may be another. */
const ACTORS = { 'the actor': actor.id, itself: story.agent.id, 'a stranger': 'agt_stranger' }

function asked(request: Request, { session }: World, place: Place) {
  const { resource, scope, details, by, dpop } = request
  return {
    agent_id: cast.agent_id,
    user_id: cast.user_id,
    audience: audiencesOf(request, place),
    ...(resource.length > 0 && { resource }),
    ...(scope !== undefined && { scope }),
    ...(details !== undefined && { authorization_details: details }),
    auth_time: new Date(house.clock.now.getTime() - session.age * 1000).toISOString(),
    ...(session.acr !== null && { acr: session.acr }),
    session: session.lives === 'lives' ? 'live' : 'ended',
    subject_token_type: by === 'id_token' ? TOKEN_TYPE.idToken : TOKEN_TYPE.refreshToken,
    dpop,
    ...(request.actor !== 'nobody' && { actor_id: ACTORS[request.actor] }),
  }
}

async function exchange(request: Request, place: Place) {
  const { resource, scope, details, by, dpop } = request
  return story.exchange(
    {
      audience: audiencesOf(request, place),
      resource,
      scope,
      authorization_details: details && JSON.stringify(details),
      ...(by === 'id_token'
        ? { subject_token: await freshIdToken(), subject_token_type: TOKEN_TYPE.idToken }
        : { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken }),
      ...(request.actor !== 'nobody' && {
        actor_token: await actorToken(ACTORS[request.actor]),
        actor_token_type: TOKEN_TYPE.jwt,
      }),
    },
    story.agent,
    dpop ? await proving(key, house) : {},
  )
}

function actorToken(id: string): Promise<string> {
  const by = id === story.agent.id ? story.agent : { ...actor, client_id: id }
  const header = { typ: TYP.actorToken }
  return clientAssertion(house, by, { client_id: story.agent.client_id, header })
}

test('an explanation and the endpoint never disagree, and an explanation changes nothing (TX-60)', async () => {
  const seen = new Map<string, number>()
  await fc.assert(
    fc.asyncProperty(anyWorld, anyRequest, async (world, request) => {
      const place = await becomeWorld(house, cast, world)
      const { body } = await explained(house, asked(request, world, place))
      const answer = await answered(house, () => exchange(request, place))
      assert.deepEqual(verdictOf(body), answer)
      const outcome = answer.reason ?? 'granted'
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
      // A minute has room for so many samples of clients that nobody knows.
      house.wait(1)
    }),
    { numRuns },
  )
  // The worlds are no good if they all end alike.
  assert.ok(seen.has('granted') && seen.size > Math.min(30, numRuns / 6), [...seen].join(' '))
})

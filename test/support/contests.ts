/**
 * Something that counts once, asked for many times at once at two servers of one database. How the requests
 * fall between one another is left to chance; what must hold then is asserted here.
 */

import assert from 'node:assert/strict'
import { decodeJwt } from 'jose'
import { hashSecret } from '../../src/oauth/secret.ts'
import { actorTokenOf, assertionOf, exchange, redeem, refresh } from './contestant-requests.ts'
import { type Contestant, type Kind, makeContestants } from './contestants.ts'
import { athOf, newDpopKey, proving } from './dpop.ts'
import type { Answer, Doors } from './house.ts'
import { assertEarlier, assertIssued } from './issued.ts'
import { type Arena, inLanes, soon, tally, turned } from './race.ts'

const TIMES = 4
const key = await newDpopKey()

/** A proof that comes with an assertion of its own each time. */
export const contestProofs = (arena: Arena, size: number) =>
  contest(arena, size, {
    // These are refused whoever comes first, and spend their proof all the same.
    kinds: {
      granted: {},
      interaction_required: { delegation: null },
      invalid_scope: { asks: { scope: 'docs.none' } },
    },
    refusal: 'invalid_dpop_proof',
    present: async (at) => {
      const proof = await proving(key, at)
      return (at, of) => exchange(at, of, {}, proof)
    },
  })

export const contestActorTokens = (arena: Arena, size: number) =>
  contest(arena, size, {
    kinds: {
      granted: { actor: true },
      interaction_required: { actor: true, delegation: null },
    },
    refusal: 'invalid_grant',
    present: async (at, of) => {
      const token = actorTokenOf(of, at.config.issuer)
      return (at, of) => exchange(at, of, token)
    },
  })

type Ask = (at: Doors, of: Contestant) => Promise<Answer>

/** Each contestant presents one thing `TIMES` times, half of them at each replica: it counts once. */
async function contest(
  { replicas, db }: Arena,
  size: number,
  {
    kinds,
    refusal,
    present,
  }: {
    /** What the first is answered of each. */
    kinds: Record<string, Kind>
    /** What the others are answered. */
    refusal: string
    present: (at: Doors, of: Contestant) => Promise<Ask>
  },
): Promise<void> {
  for (const [first, kind] of Object.entries(kinds)) {
    const contestants = await makeContestants(db, size, kind)
    const sheets = await Promise.all(
      contestants.map(async (of) => ({ of, ask: await present(replicas[0], of) })),
    )
    // In opposite orders, so that two statements meet the same from both ends.
    const [one, two] = replicas
    const turns = Array.from({ length: TIMES / 2 }, () => [
      ...sheets.map((sheet) => ({ sheet, at: one })),
      ...sheets.toReversed().map((sheet) => ({ sheet, at: two })),
    ]).flat()
    const answered = await Promise.all(
      turns.map(async ({ sheet, at }) => ({ sheet, answer: await sheet.ask(at, sheet.of) })),
    )
    for (const sheet of sheets) {
      const answers = answered.filter((one) => one.sheet === sheet).map(({ answer }) => answer)
      assert.deepEqual(tally(answers), { [first]: 1, [refusal]: TIMES - 1 })
    }
  }
}

/** Two assertions and two proofs, each with each: whatever is granted has both for itself. */
export async function contestPairs({ replicas, db }: Arena, size: number): Promise<void> {
  const [one, two] = replicas
  await inLanes(await makeContestants(db, size), async (of, index) => {
    const assertions = [1, 2].map(() => assertionOf(of, one.config.issuer))
    const proofs = [await proving(key, one), await proving(key, one)]
    const pairs = assertions.flatMap((assertion) => proofs.map((proof) => ({ assertion, proof })))
    const answers = await Promise.all(
      pairs.map(({ assertion, proof }, turn) =>
        soon(() => exchange((turn + index) % 2 ? one : two, of, assertion, proof)),
      ),
    )
    const granted = pairs.filter((_, turn) => answers[turn]?.status === 200)
    assert.ok(granted.length > 0, JSON.stringify(tally(answers)))
    for (const part of ['assertion', 'proof'] as const) {
      assert.equal(
        new Set(granted.map((pair) => pair[part])).size,
        granted.length,
        `one ${part} twice`,
      )
    }
    const { granted: _, ...refused } = tally(answers)
    for (const error of Object.keys(refused)) {
      assert.ok(['invalid_client', 'invalid_dpop_proof'].includes(error), error)
    }
  })
}

/** One proof for every grant at once, each with an assertion of its own. */
export async function contestGrants({ replicas, db }: Arena, size: number): Promise<void> {
  await inLanes(await makeContestants(db, size), async (of, index) => {
    const [here, there] = turned(replicas, index)
    const proof = await proving(key, here)
    const assertion = () => assertionOf(of, here.config.issuer)
    const answers = await Promise.all([
      soon(() => exchange(here, of, {}, proof)),
      soon(() => refresh(there, of, of.refresh_token, assertion(), proof)),
      soon(() => redeem(there, of, assertion(), proof)),
      soon(() => exchange(there, of, {}, proof)),
    ])
    assert.deepEqual(tally(answers), { granted: 1, invalid_dpop_proof: 3 })
  })
}

/** One proof at the userinfo endpoints, with the access token that it is for. */
export async function contestUserinfo({ replicas, db }: Arena, size: number): Promise<void> {
  await inLanes(await makeContestants(db, size), async (of, index) => {
    const [here] = turned(replicas, index)
    const assertion = assertionOf(of, here.config.issuer)
    const { body, text } = await redeem(here, of, assertion, await proving(key, here))
    assert.equal(body.token_type, 'DPoP', text)
    const claims = {
      htm: 'GET',
      htu: `${here.config.issuer}/oauth2/userinfo`,
      ath: athOf(body.access_token),
    }
    const headers = {
      authorization: `DPoP ${body.access_token}`,
      ...(await proving(key, here, claims)),
    }
    const answers = await Promise.all(
      Array.from({ length: TIMES }, (_, turn) =>
        replicas[turn % 2 === 0 ? 0 : 1].inject({
          method: 'GET',
          url: '/oauth2/userinfo',
          headers,
        }),
      ),
    )
    assert.deepEqual(tally(answers), { granted: 1, invalid_dpop_proof: TIMES - 1 })
  })
}

/**
 * Exchanges of a refresh token against its rotation (TX-27). One that finds it rotated is a reuse of a spent
 * token and ends the family, once, however many come.
 * @returns how many races both sides won in part
 */
export async function contestRotation({ replicas, db, pool }: Arena, size: number) {
  const races = await inLanes(await makeContestants(db, size), async (of, index) => {
    const [here, there] = turned(replicas, index)
    const exchanging = Array.from({ length: TIMES }, (_, turn) =>
      soon(() => exchange(turn % 2 ? here : there, of)),
    )
    const rotated = await soon(() => refresh(here, of))
    assert.equal(rotated.status, 200, rotated.text)
    const answers = await Promise.all(exchanging)
    const { granted = 0, invalid_grant = 0 } = tally(answers)
    assert.equal(granted + invalid_grant, TIMES, JSON.stringify(tally(answers)))

    const late = await Promise.all(replicas.flatMap((at) => [exchange(at, of), refresh(at, of)]))
    assert.deepEqual(tally(late), { invalid_grant: 4 })
    const next = await refresh(there, of, rotated.body.refresh_token)
    assert.equal(next.body.error, 'invalid_grant', next.text)
    const jtis = answers.flatMap(({ status, body }) =>
      status === 200 ? [decodeJwt(body.access_token).jti as string] : [],
    )
    return { of, jtis, contested: granted > 0 && invalid_grant > 0 }
  })

  const families = races.map(({ of }) => of.family_id)
  const { rows: ended } = await pool.query(
    `select family.id, family.end_reason, count(event.id)::int as events
     from unnest($1::text[]) as asked(id) join refresh_token_families family using (id)
     left join audit_events event on event.type = 'refresh_token.reused'
       and event.detail ->> 'family_id' = family.id
     group by family.id, family.end_reason having count(event.id) <> 1 or end_reason <> 'token_reused'`,
    [families],
  )
  assert.deepEqual(ended, [], 'not ended once, by reuse')
  await assertIssued(pool, new Map(races.map(({ of, jtis }) => [of.agent_id, jtis])))
  await assertEarlier(
    pool,
    { table: 'refresh_tokens', column: 'hash' },
    races.flatMap(({ of, jtis }) => jtis.map((jti) => ({ jti, id: hashSecret(of.refresh_token) }))),
  )
  return races.filter(({ contested }) => contested).length
}

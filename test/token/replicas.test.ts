/**
 * Two servers on one database, within one process. What is held against two processes for longer, and by
 * chance alone, is in test/system.
 */
import { after, test } from 'node:test'
import { AMENDMENTS } from '../support/amendments.ts'
import { openContestantSite } from '../support/contestant-site.ts'
import {
  contestActorTokens,
  contestGrants,
  contestPairs,
  contestProofs,
  contestRotation,
  contestUserinfo,
} from '../support/contests.ts'
import { ENDINGS } from '../support/endings.ts'
import { endingsOfSite } from '../support/endings-by-rule.ts'
import {
  contestAgents,
  contestFirstMints,
  contestQuestions,
  contestSubjects,
  contestUsers,
} from '../support/firsts.ts'
import { openHouses } from '../support/house.ts'
import {
  amendWhileMinting,
  endWhileMinting,
  mintTwiceByOnceDelegation,
  mintTwiceWithOneAssertion,
  openStage,
  type Stage,
} from '../support/under-way.ts'

let stage: Stage | undefined
// Before the houses are closed, which wait for it.
after(() => stage?.holder.release())
const replicas = await openHouses({ after }, { RATE_LIMITS: 'off' })
const [{ deps }] = replicas
stage = await openStage({ replicas, db: deps.db, pool: deps.pool })
const arena: Stage = stage
const site = await openContestantSite({ after })

for (const ending of [...ENDINGS, ...endingsOfSite(site)]) {
  test(`a mint under way is over before ${ending.name}, or is none`, () =>
    endWhileMinting(arena, ending))
}

for (const amendment of AMENDMENTS) {
  test(`a mint under way is over before ${amendment.name}, and the next one says so`, () =>
    amendWhileMinting(arena, amendment))
}

test('two mints under way with one client assertion: one is recorded', () =>
  mintTwiceWithOneAssertion(arena))

test('two mints under way of one once delegation: one is recorded', () =>
  mintTwiceByOnceDelegation(arena))

test('a DPoP proof that is sent to two servers at once counts once, whatever comes of it (DP-05)', () =>
  contestProofs(arena, 16))

test('of proofs and assertions that are sent in all pairs at once each counts once (DP-05, CA-03)', () =>
  contestPairs(arena, 20))

test('a DPoP proof that is sent for every grant at once counts once (DP-05)', () =>
  contestGrants(arena, 20))

test('a DPoP proof that is sent to two userinfo endpoints at once counts once (DP-05, DP-11)', () =>
  contestUserinfo(arena, 10))

test('an actor token that is sent to two servers at once counts once (TX-19)', () =>
  contestActorTokens(arena, 12))

test('no ID-JAG is minted once its refresh token is rotated, and who tries ends the family once (TX-27)', async (t) => {
  t.diagnostic(`${await contestRotation(arena, 24)} of 24 races won by both sides in part`)
})

test('two audiences of one sector that are first allowed at once know a user by one subject (IJ-35)', () =>
  contestSubjects(arena, 15))

test('first mints at two servers at once make one delegation by policy, and rest on it', () =>
  contestFirstMints(arena, 10))

test('a user is asked one question, however often and wherever an agent asks at once', () =>
  contestQuestions(arena, 10))

test('a subject that nobody has linked becomes one user, whose first exchanges come at once', () =>
  contestUsers(arena, site, 10))

test('a client that may come by its metadata document becomes one agent, whose first requests come at once (DS-40)', () =>
  contestAgents(arena, site, 10))

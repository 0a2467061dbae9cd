/** Two servers, one database: what counts once, and what is made once, whichever of the two is asked. */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openPool } from '../../src/db/pool.ts'
import { openContestantSite } from '../support/contestant-site.ts'
import {
  contestActorTokens,
  contestGrants,
  contestPairs,
  contestProofs,
  contestRotation,
  contestUserinfo,
} from '../support/contests.ts'
import {
  contestAgents,
  contestFirstMints,
  contestQuestions,
  contestSubjects,
  contestUsers,
} from '../support/firsts.ts'
import { createTestDatabase } from '../support/postgres.ts'
import type { Arena } from '../support/race.ts'
import { startReplicas } from '../support/server-process.ts'

const database = await createTestDatabase()
const { pool, db } = openPool(database.connection, () => undefined)
const replicas = await startReplicas({ after }, { DATABASE_URL: database.url })
after(async () => {
  await db.destroy()
  await database.drop()
})
const site = await openContestantSite({ after })
const arena: Arena = { replicas, db, pool }

test('a DPoP proof sent many times to both replicas at once counts once, whatever comes of it (DP-05)', async () => {
  for (let round = 0; round < 2; round++) await contestProofs(arena, 60)
})

test('of proofs and assertions that are sent in all pairs at once each counts once (DP-05, CA-03)', () =>
  contestPairs(arena, 100))

test('a DPoP proof sent for every grant at once counts once (DP-05)', () =>
  contestGrants(arena, 100))

test('a DPoP proof sent many times to both userinfo endpoints at once counts once (DP-05, DP-11)', () =>
  contestUserinfo(arena, 60))

test('an actor token sent many times to both replicas at once counts once (TX-19)', async () => {
  for (let round = 0; round < 2; round++) await contestActorTokens(arena, 60)
})

test('no ID-JAG is minted once its refresh token is rotated, and who tries ends the family once (TX-27)', async (t) => {
  const contested = await contestRotation(arena, 80)
  t.diagnostic(`80 races, ${contested} of them won by both sides in part`)
})

test('two audiences of one sector that are first allowed at once know a user by one subject (IJ-35)', () =>
  contestSubjects(arena, 100))

test('first mints at both replicas at once make one delegation by policy, and rest on it', () =>
  contestFirstMints(arena, 60))

test('a user is asked one question, however often and wherever an agent asks at once', () =>
  contestQuestions(arena, 60))

test('a subject that nobody has linked becomes one user, whose first exchanges come at once', () =>
  contestUsers(arena, site, 60))

test('a client that may come by its metadata document becomes one agent, whose first requests come at once (DS-40)', () =>
  contestAgents(arena, site, 60))

test('afterwards both replicas end in good order, with no error in their logs and no deadlock in the database', async () => {
  for (const replica of replicas) {
    assert.equal(await replica.stop(), 0)
    const faults = replica.output().match(/^.*("level":[5-9]0|deadlock|40P01).*$/gm)
    assert.equal(faults, null)
  }
  // A server process counts its deadlocks when it ends.
  const { rows } = await pool.query(
    'select deadlocks::int from pg_stat_database where datname = current_database()',
  )
  assert.deepEqual(rows, [{ deadlocks: 0 }])
})

/** Two servers, one database, and mints that are held up while something else comes (support/under-way.ts). */

import { after, test } from 'node:test'
import { openPool } from '../../src/db/pool.ts'
import { AMENDMENTS } from '../support/amendments.ts'
import { openContestantSite } from '../support/contestant-site.ts'
import { ENDINGS } from '../support/endings.ts'
import { endingsOfSite } from '../support/endings-by-rule.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { startReplicas } from '../support/server-process.ts'
import {
  amendWhileMinting,
  endWhileMinting,
  mintTwiceByOnceDelegation,
  mintTwiceWithOneAssertion,
  openStage,
} from '../support/under-way.ts'

const ROUNDS = 3

const database = await createTestDatabase()
const { pool, db } = openPool(database.connection, () => undefined)
const replicas = await startReplicas({ after }, { DATABASE_URL: database.url })
const stage = await openStage({ replicas, pool, db })
const site = await openContestantSite({ after })
after(async () => {
  stage.holder.release()
  await db.destroy()
  await database.drop()
})

for (const ending of [...ENDINGS, ...endingsOfSite(site)]) {
  test(`a mint under way is over before ${ending.name}, or is none`, () =>
    endWhileMinting(stage, ending, ROUNDS))
}

for (const amendment of AMENDMENTS) {
  test(`a mint under way is over before ${amendment.name}, and the next one says so`, () =>
    amendWhileMinting(stage, amendment, ROUNDS))
}

test('two mints under way with one client assertion: one is recorded', () =>
  mintTwiceWithOneAssertion(stage, ROUNDS))

test('two mints under way of one once delegation: one is recorded', () =>
  mintTwiceByOnceDelegation(stage, ROUNDS))

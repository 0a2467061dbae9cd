/**
 * Two servers, one database, and changes after which ID-JAGs say something else: which of the two an ID-JAG
 * says is decided by the order in which the database committed.
 */

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { openPool } from '../../src/db/pool.ts'
import { AMENDMENTS, type Amendment } from '../support/amendments.ts'
import { exchange } from '../support/contestant-requests.ts'
import { type Contestant, makeContestants } from '../support/contestants.ts'
import type { Answer, Doors } from '../support/house.ts'
import { assertIssued, listLater } from '../support/issued.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { assertSound, inLanes, soon } from '../support/race.ts'
import { startReplicas } from '../support/server-process.ts'

const RACES_OF_A_KIND = 60
/** Exchanges that run against one change, half of them at each replica. */
const CONTENDERS = 6

const database = await createTestDatabase()
const { pool, db } = openPool(database.connection, () => undefined)
const replicas = await startReplicas({ after }, { DATABASE_URL: database.url })
after(async () => {
  await db.destroy()
  await database.drop()
})

for (const amendment of AMENDMENTS) {
  test(`no ID-JAG says what was true before once ${amendment.name}`, async (t) => {
    const { name: _, made, row, stale } = amendment
    const contestants = await makeContestants(db, RACES_OF_A_KIND, made)
    const races = await inLanes(contestants, (of, index) => race(amendment, of, index))

    await assertIssued(pool, new Map(races.map(({ of, said }) => [of.agent_id, said.map(jtiOf)])))
    const table = row(contestants[0] as Contestant).table
    const decided = races.flatMap(({ of, said }) =>
      said.map((claims) => ({ jti: jtiOf(claims), id: row(of).id, fresh: !stale(claims, of) })),
    )
    const later = await listLater(pool, { table }, decided)
    const fresh = decided.filter((one) => one.fresh).map(({ jti }) => jti)
    if (later) assert.deepEqual(later.toSorted(), fresh.toSorted())
    const contested = races.filter(
      ({ of, said }) => said.some((one) => stale(one, of)) && said.some((one) => !stale(one, of)),
    )
    t.diagnostic(`${races.length} races, ${contested.length} of them won by both sides in part`)
  })
}

type Claims = ReturnType<typeof decodeJwt>
type Race = { of: Contestant; said: Claims[] }
const jtiOf = ({ jti }: Claims) => jti as string

/** Every ID-JAG of the race, and that those asked for after the change was answered are of after. */
async function race(
  { amend, status, stale }: Amendment,
  of: Contestant,
  index: number,
): Promise<Race> {
  const [here, there] = (index % 2 ? replicas : replicas.toReversed()) as Doors[] as [Doors, Doors]
  let amended: Answer | undefined
  const contend = Array.from({ length: CONTENDERS }, (_, turn) =>
    soon(async () => {
      const late = amended !== undefined
      return { late, answer: await exchange(turn % 2 ? here : there, of) }
    }),
  )
  amended = await soon(() => amend(here, of), of.actor ? 4 : 1)
  assert.equal(amended.status, status, amended.text)
  const after = await Promise.all(replicas.map((at) => exchange(at, of)))
  const during = await Promise.all(contend)
  const late = [...after, ...during.flatMap(({ late, answer }) => (late ? [answer] : []))]
  for (const { status, body, text } of late) {
    assert.equal(status, 200, text)
    assert.equal(stale(decodeJwt(body.access_token), of), false, text)
  }
  const answers = [...after, ...during.map(({ answer }) => answer)]
  assertSound(answers)
  const said = answers.flatMap(({ status, body }) =>
    status === 200 ? [decodeJwt(body.access_token)] : [],
  )
  return { of, said }
}

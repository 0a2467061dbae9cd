/**
 * Where everybody takes rows in one order, nobody waits in a circle: whoever waits for a row holds none that
 * comes after it (revoke/end.ts). Asked of all that ends a mint, of mints, and of what is changed beside them.
 */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openContestantSite } from '../support/contestant-site.ts'
import { makeContestants } from '../support/contestants.ts'
import { ENDINGS } from '../support/endings.ts'
import { endingsOfSite } from '../support/endings-by-rule.ts'
import { openHouse } from '../support/house.ts'
import { type Act, actsOn } from '../support/lock-acts.ts'
import { LINE, type Place, whileHeld } from '../support/lock-line.ts'

const house = await openHouse({ after }, { RATE_LIMITS: 'off' })
const { db, pool } = house.deps
const site = await openContestantSite({ after })

for (const ending of [...ENDINGS, ...endingsOfSite(site)]) {
  test(`nobody who waits for a row holds one after it: ${ending.name}`, async () => {
    await waitsOf(ending)
  })
}

for (const act of actsOn(site)) {
  test(`nobody who waits for a row holds one after it: ${act.name}`, async () => {
    const waits = await waitsOf(act)
    // Had it waited for nothing, this would have asked nothing.
    assert.equal(waits.map(({ name }) => name).join(' '), act.waits)
  })
}

/** Along the line, the places where it waits. */
async function waitsOf({ made, before, end }: Pick<Act, 'end'> & Partial<Act>): Promise<Place[]> {
  const contestants = await makeContestants(db, LINE.length, { ...made, ownTenant: true })
  const waits: Place[] = []
  for (const [index, of] of contestants.entries()) {
    const place = LINE[index] as Place
    await before?.(db, of)
    const held = await whileHeld(pool, { place, of }, () => end(house, of))
    if (held === undefined) continue
    waits.push(place)
    const after = held.filter((other) => other.rank > place.rank && !isGuarded(other, held))
    assert.deepEqual(after, [], `waits for the ${place.name}`)
  }
  return waits
}

/** Nobody takes a credential but with its agent in hand: whoever has that for themselves may take it early. */
const isGuarded = ({ name }: Place, held: Place[]): boolean =>
  name === 'credential' && held.some((other) => other.name === 'agent')

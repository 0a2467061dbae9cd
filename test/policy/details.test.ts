import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { AudienceResource } from '../../src/db/tables.ts'
import { distinctDetails } from '../../src/oauth/authorization-details.ts'
import {
  entitledDetails,
  shrinkDetails,
  unknownType,
  withinCatalogue,
} from '../../src/policy/details.ts'
import {
  anyDetails,
  anyMeeting,
  LOCATIONS,
  passes,
  place,
  TYPES,
  within,
} from '../support/details.ts'

const A = 'https://a.example/'
const B = 'https://b.example/x'
const knowing = (identifier: string, ...types: string[]): AudienceResource => ({
  identifier,
  scopes: [],
  authorization_details_types: types.map((type) => ({ type })),
})
const bank = {
  resources: [
    knowing(A, 'payment', 'account'),
    knowing(B, 'payment'),
    { identifier: 'https://c.example/', scopes: [] },
  ],
}

test('a type that no resource of the audience knows is named (TX-15)', () => {
  const asked = [{ type: 'payment' }, { type: 'loan' }, { type: 'gift' }]
  assert.equal(unknownType(asked, bank), 'loan')
  assert.equal(unknownType([{ type: 'account' }], bank), undefined)
  assert.equal(unknownType([], { resources: [] }), undefined)
  assert.equal(unknownType([{ type: 'payment' }], { resources: [] }), 'payment')
  assert.equal(unknownType([{ type: 'constructor' }], bank), 'constructor')
})

const at = (...locations: string[]) => ({ type: 'payment', locations })
test('an entry stays where a granted resource knows its type (TX-15)', () => {
  const asked = [{ type: 'payment', amount: 1 }, { type: 'account' }, { type: 'loan' }]
  assert.deepEqual(withinCatalogue(asked, bank, []), asked.slice(0, 2))
  assert.deepEqual(withinCatalogue(asked, bank, [A, B]), asked.slice(0, 2))
  assert.deepEqual(withinCatalogue(asked, bank, ['https://B.example/x']), asked.slice(0, 1))
  assert.deepEqual(withinCatalogue(asked, bank, ['https://c.example/']), [])
  assert.deepEqual(withinCatalogue(asked, bank, ['https://elsewhere.example/']), [])
})

test('its locations are those of the granted resources that know its type, as the audience spells them', () => {
  const asked = [at('HTTPS://A.example', B, A, 'https://elsewhere.example/', 'c')]
  assert.deepEqual(withinCatalogue(asked, bank, []), [at(A, B)])
  assert.deepEqual(withinCatalogue(asked, bank, [B]), [at(B)])
  assert.deepEqual(withinCatalogue([at(A)], bank, [B]), [])
  assert.deepEqual(withinCatalogue([at('https://c.example/')], bank, []), [])
  assert.deepEqual(withinCatalogue([at(`${A}payments`)], bank, []), [])
  assert.deepEqual(withinCatalogue([{ ...at(B), type: 'account' }], bank, []), [])
  assert.deepEqual(withinCatalogue([at(A, B), at(A)], bank, [A]), [at(A)], 'each once')
})

test('an entitlement lets through the types it names, or all', () => {
  const asked = [{ type: 'payment' }, { type: 'account' }]
  assert.deepEqual(entitledDetails(asked, null), asked)
  assert.deepEqual(entitledDetails(asked, ['account', 'loan']), [{ type: 'account' }])
  assert.deepEqual(entitledDetails(asked, []), [])
})

test('what was allowed at another resource neither counts nor stands in the way (TX-14)', () => {
  const asked = [{ type: 'payment' }]
  const shrink = (allowed: typeof asked | null, ...resources: string[]) =>
    shrinkDetails(asked, allowed, bank, resources)
  assert.deepEqual(shrink([at(A), at(B)], B), [at(B)])
  assert.deepEqual(shrink([at(A), at(B)]), [at(A)])
  assert.deepEqual(shrink([at(A)], B), [])
  assert.deepEqual(shrink(null, B), asked)
  assert.deepEqual(shrink(null, 'https://c.example/'), [])
  assert.deepEqual(shrink([], B), [])
})

test('granted ⊆ asked ∩ allowed ∩ entitled ∩ catalogue, and granting it again changes nothing (TX-14)', () => {
  const types = fc.subarray(TYPES)
  const catalogue = fc.uniqueArray(
    fc.record({ identifier: fc.constantFrom(...LOCATIONS), types }),
    { selector: ({ identifier }) => place(identifier), minLength: 1 },
  )
  const world = fc.record({
    meetings: fc.array(anyMeeting, { maxLength: 3 }),
    others: anyDetails,
    allowedAll: fc.boolean(),
    catalogue,
    resources: fc.subarray(LOCATIONS),
    entitled: fc.option(types),
  })
  let left = 0
  fc.assert(
    fc.property(world, ({ meetings, others, allowedAll, catalogue, resources, entitled }) => {
      const audience = { resources: catalogue.map((of) => knowing(of.identifier, ...of.types)) }
      const allowed = allowedAll ? null : meetings.map(([, , one]) => one)
      const grant = (asked: typeof others) =>
        entitledDetails(shrinkDetails(asked, allowed, audience, resources), entitled)
      const asked = [...others, ...meetings.map(([, one]) => one)]
      const granted = grant(asked)
      left += granted.length
      const places = resources.map(place)
      for (const entry of granted) {
        assert.ok(
          asked.some((one) => within(entry, one)),
          'was not asked for',
        )
        assert.ok(allowed === null || allowed.some((one) => passes(entry, one)), 'was not allowed')
        assert.ok(entitled === null || entitled.includes(entry.type), 'is not entitled')
        const homes = catalogue
          .filter((of) => of.types.includes(entry.type))
          .map(({ identifier }) => identifier)
          .filter((identifier) => places.length === 0 || places.includes(place(identifier)))
        assert.ok(homes.length > 0, 'is of a type that no granted resource knows')
        const locations = (entry.locations ?? []) as string[]
        assert.ok(
          locations.every((one) => homes.includes(one)),
          'is at a place that is not granted',
        )
      }
      assert.deepEqual(grant(granted), granted)
      assert.deepEqual(distinctDetails(granted), granted)
    }),
    { numRuns: 500 },
  )
  assert.ok(left > 50, `only ${left} entries were granted`)
})

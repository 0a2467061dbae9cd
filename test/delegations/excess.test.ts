import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { excess } from '../../src/delegations/excess.ts'
import { entitledDetails, withinCatalogue } from '../../src/policy/details.ts'
import { anyDetail, place, TYPES } from '../support/details.ts'

const RESOURCES = ['https://a.example/', 'https://b.example/x']
const some = (values: string[]) => fc.subarray(values, { minLength: 1 })
const orNull = <Value>(arbitrary: fc.Arbitrary<Value>) => fc.option(arbitrary, { nil: null })

const anyBounds = fc.record({
  catalogue: fc.tuple(fc.subarray(TYPES), fc.subarray(TYPES)),
  entitled: orNull(some(RESOURCES)),
  types: orNull(fc.subarray(TYPES)),
})

// Two rooms keep this rule, because records cannot ask the policy: here they have to agree.
test('an entry is within the bounds exactly when the policy would leave all of it (rule 2, TX-15)', () => {
  let within = 0
  fc.assert(
    fc.property(
      anyBounds,
      anyDetail,
      fc.boolean(),
      ({ catalogue, entitled, types }, detail, all) => {
        const audience = {
          resources: RESOURCES.map((identifier, at) => ({
            identifier,
            scopes: [],
            authorization_details_types: (catalogue[at] ?? []).map((type) => ({ type })),
          })),
        }
        const resources = all ? null : (entitled ?? RESOURCES)
        const beyond = excess(
          { scopes: [], resources, authorization_details: [detail] },
          {
            entitlement: { scopes: [], resources: entitled, authorization_details_types: types },
            audience,
          },
        )
        const [left] = entitledDetails(
          withinCatalogue([detail], audience, resources ?? entitled ?? []),
          types,
        )
        const places = (locations: unknown) =>
          new Set(((locations ?? []) as string[]).map(place)).size
        const whole = left !== undefined && places(left.locations) === places(detail.locations)
        assert.equal(beyond === undefined, whole)
        if (whole) within += 1
      },
    ),
    { numRuns: 2000 },
  )
  assert.ok(within > 50, `${within} within`)
})

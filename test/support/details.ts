import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import type { AuthorizationDetail } from '../../src/oauth/authorization-details.ts'

/** Entries of authorization details for property tests, and what it means that one is within another. */

export const LISTS = ['locations', 'actions', 'datatypes', 'privileges'] as const
export const TYPES = ['payment', 'account', 'constructor']
/** Two spellings of one resource among them (TX-11). */
export const LOCATIONS = ['https://a.example/', 'HTTPS://A.example', 'https://b.example/x', 'c']

const list = (words: string[]) => fc.uniqueArray(fc.constantFrom(...words), { minLength: 1 })

export const anyDetail: fc.Arbitrary<AuthorizationDetail> = fc.record(
  {
    type: fc.constantFrom(...TYPES),
    locations: list(LOCATIONS),
    actions: list(['read', 'write', 'READ']),
    datatypes: list(['contact', 'photo']),
    privileges: list(['admin', 'clerk']),
    identifier: fc.constantFrom('i', 'j'),
    amount: fc.constantFrom(1, 2, null, { value: [1], currency: 'EUR' }),
    toString: fc.constantFrom('x', ''),
  },
  { requiredKeys: ['type'], noNullPrototype: true },
)
export const anyDetails = fc.array(anyDetail, { maxLength: 4 })

/** An entry, then two that it is within, as one asked for and one allowed: chance alone hardly finds them. */
export const anyMeeting = anyDetail.chain((entry) =>
  fc.tuple(
    fc.constant(entry),
    wider(entry, () => true),
    wider(entry, isBound),
  ),
)

/** The entry without some members that it may lack, and with longer lists. */
function wider(entry: AuthorizationDetail, mayLack: (name: string) => boolean) {
  const names = namesOf(entry).filter((name) => name !== 'type')
  const words = fc.array(fc.constantFrom('read', 'write', 'photo', 'admin', ...LOCATIONS))
  return fc
    .tuple(fc.subarray(names.filter(mayLack)), words)
    .map(([lost, more]): AuthorizationDetail => {
      const kept = names.filter((name) => !lost.includes(name))
      const longer = (name: string) => [...new Set([...(entry[name] as string[]), ...more])]
      const members = kept.map((name) => [name, isList(name) ? longer(name) : entry[name]])
      return { type: entry.type, ...Object.fromEntries(members) }
    })
}

/** Whether an entry holds no more than another that was asked for: what it adds can only be a bound. */
export const within = (entry: AuthorizationDetail, asked: AuthorizationDetail): boolean =>
  namesOf(asked).every((name) => holdsNoMore(name, entry, asked))

/** Whether an entry holds no more than another that was allowed: nothing is added but the common bounds. */
export const passes = (entry: AuthorizationDetail, allowed: AuthorizationDetail): boolean =>
  within(entry, allowed) &&
  namesOf(entry).every((name) => isBound(name) || Object.hasOwn(allowed, name))

function holdsNoMore(name: string, entry: AuthorizationDetail, than: AuthorizationDetail): boolean {
  if (!Object.hasOwn(entry, name)) return false
  if (!isList(name)) return isDeepStrictEqual(entry[name], than[name])
  const held = entry[name] as string[]
  const most = than[name] as string[]
  return held.length > 0 && held.every((one) => most.some((other) => isSame(name, one, other)))
}

const isSame = (name: string, one: string, other: string): boolean =>
  name === 'locations' ? place(one) === place(other) : one === other

export const place = (location: string): string => URL.parse(location)?.href ?? location

const namesOf = (entry: AuthorizationDetail): string[] => Object.keys(entry)
const isList = (name: string): boolean => (LISTS as readonly string[]).includes(name)
const isBound = (name: string): boolean => isList(name) || name === 'identifier'

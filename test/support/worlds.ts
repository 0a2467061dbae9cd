/**
 * Arbitrary states of all that an exchange rests on, more arbitrary than the doors let them become, and
 * arbitrary requests. Most parts are mostly as they should be, so that each fault is met alone too.
 */
import fc from 'fast-check'
import type { Profile } from '../../src/db/tables.ts'
import type { AuthorizationDetail } from '../../src/oauth/authorization-details.ts'
import { anyDetails } from './details.ts'

export const PLACES = ['https://a.example/', 'https://b.example/x']
export const SCOPES = ['read', 'write', 'admin']
const TYPES = ['payment', 'account']

const mostly = <T>(usual: T, ...rare: T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 40, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...rare) },
  )
const either = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight: 4, arbitrary: usual }, { weight: 1, arbitrary: rare })
const some = (words: string[]) => either(fc.constant(words), fc.subarray(words))
const few = (words: string[]) => either(fc.constant([] as string[]), fc.subarray(words))
const orNull = <T>(one: fc.Arbitrary<T>) => fc.oneof(fc.constant(null), one)
/** Seconds from now at which something ends; what ends now has ended. */
const end = mostly<number | null>(null, -1000, 0, 1000)

const party = fc.record({
  status: mostly<'active' | 'requested' | 'suspended' | 'retired'>(
    'active',
    'requested',
    'suspended',
    'retired',
  ),
  expires: mostly(1000, -1000, 0),
  /** Whether it has a key to prove itself with. */
  key: mostly(true, false),
})

const client = fc.record({
  tenant: mostly<'active' | 'suspended'>('active', 'suspended'),
  owner: mostly<'active' | 'suspended'>('active', 'suspended'),
  exchanges: mostly(true, false),
  bound: mostly(false, true),
})

const user = fc.record({
  status: mostly<'active' | 'suspended'>('active', 'suspended'),
  email: mostly<'verified' | 'there' | 'none'>('verified', 'there', 'none'),
  phone: fc.constantFrom('verified' as const, 'there' as const, 'none' as const),
  named: fc.boolean(),
  barred: mostly(false, true),
})

const session = fc.record({
  lives: mostly<'lives' | 'ended' | 'over'>('lives', 'ended', 'over'),
  /** Seconds since the sign-in. */
  age: fc.constantFrom(0, 100, 101, 300, 301, 340, 341, 5000),
  acr: fc.constantFrom(null, 'urn:mfa', 'urn:pwd'),
})

const CLAIMS = ['email', 'phone', 'name', 'tenant', 'act', 'aud_sub', 'aud_tenant']
const resource = fc.record({ scopes: some(SCOPES), types: some(TYPES) })

const audience = fc.record({
  profile: fc.oneof(
    { weight: 4, arbitrary: fc.constant<Profile>('idjag') },
    { weight: 2, arbitrary: fc.constantFrom<Profile>('mcp-ema', 'authmd-0.1', 'authmd-0.2') },
  ),
  status: mostly<'active' | 'suspended'>('active', 'suspended'),
  resources: fc.tuple(resource, resource),
  default_scopes: few(SCOPES),
  default_resources: few(PLACES),
  claims: few(CLAIMS),
  max_auth_age: mostly<number | null>(null, 400, 600),
  id_jag_lifetime: fc.constantFrom(null, 60, 300),
  acr_values: mostly<string[]>([], ['urn:mfa'], ['urn:mfa', 'urn:pwd']),
  dpop_required: mostly(false, true),
  account: fc.constantFrom('none', 'sub', 'both'),
})

const entitlement = fc.record({
  there: mostly(true, false),
  named: mostly(true, false),
  scopes: some(SCOPES),
  resources: either(fc.constant(null), fc.subarray(PLACES, { minLength: 1 })),
  types: either(fc.constant(null), fc.subarray(TYPES)),
  consent: fc.constantFrom('user' as const, 'admin' as const),
  expires: end,
  /** Seconds ago. */
  made: fc.constantFrom(1000, 350, 250),
})

const detailsOrNone = either<AuthorizationDetail[]>(fc.constant([]), anyDetails)
const delegation = fc.record({
  scopes: some(SCOPES),
  resources: either(fc.constant(null), fc.subarray(PLACES, { minLength: 1 })),
  details: orNull(detailsOrNone),
  claims: some(CLAIMS),
  mode: fc.constantFrom('once' as const, 'always' as const),
  offline: fc.boolean(),
  source: fc.constantFrom('user' as const, 'admin' as const, 'policy' as const),
  expires: end,
})
const past = fc.record({
  status: fc.constantFrom('consumed' as const, 'revoked' as const, 'expired' as const),
  source: fc.constantFrom('user' as const, 'admin' as const, 'policy' as const),
  end_reason: fc.constantFrom('user', 'replaced', 'entitlement_ended'),
})

const named = fc.record({ user: fc.boolean(), agent: fc.boolean(), audience: fc.boolean() })
const block = fc
  .record({ of: named, expires: end })
  .filter(({ of }) => Object.values(of).some(Boolean))
const permission = fc.record({
  of: fc.record({ user: fc.boolean(), audience: fc.boolean() }),
  scopes: either(fc.constant(null), fc.subarray(SCOPES)),
  expires: fc.constantFrom(null, -1000, 1000),
})

export const anyWorld = fc.record({
  client,
  agent: party,
  actor: party,
  user,
  session,
  audience,
  entitlement,
  delegation: fc.option(delegation, { freq: 4, nil: undefined }),
  history: fc.oneof(
    { weight: 2, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(past, { maxLength: 2 }) },
  ),
  block: fc.oneof(
    { weight: 10, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: block },
  ),
  permissions: fc.array(permission, { maxLength: 2 }),
})
export type World = typeof anyWorld extends fc.Arbitrary<infer T> ? T : never

export const anyRequest = fc.record({
  audience: mostly<'its own' | 'alias' | 'slash' | 'unknown' | 'two'>(
    'its own',
    'alias',
    'slash',
    'unknown',
    'two',
  ),
  resource: fc.oneof(
    { weight: 12, arbitrary: fc.constant([] as string[]) },
    {
      weight: 9,
      arbitrary: fc.subarray(['https://A.example', 'https://b.example/x'], { minLength: 1 }),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom<string[][]>(
        ['https://c.example/'],
        ['a'],
        ['https://a.example/#x'],
      ),
    },
  ),
  scope: fc.oneof(
    {
      weight: 20,
      arbitrary: fc.subarray([...SCOPES, 'other'], { minLength: 1 }).map((all) => all.join(' ')),
    },
    { weight: 1, arbitrary: fc.constantFrom(undefined, ' read', 'other') },
  ),
  details: fc.oneof(
    { weight: 6, arbitrary: fc.constant(undefined) },
    {
      weight: 3,
      arbitrary: fc.array(fc.record({ type: fc.constantFrom(...TYPES) }), {
        minLength: 1,
        maxLength: 2,
      }),
    },
    { weight: 1, arbitrary: fc.oneof(anyDetails, fc.constant([{}])) },
  ),
  by: fc.constantFrom('id_token' as const, 'id_token' as const, 'refresh_token' as const),
  dpop: fc.boolean(),
  actor: fc.oneof(
    { weight: 6, arbitrary: fc.constant('nobody' as const) },
    {
      weight: 1,
      arbitrary: mostly<'the actor' | 'itself' | 'a stranger'>('the actor', 'itself', 'a stranger'),
    },
  ),
})
export type Request = typeof anyRequest extends fc.Arbitrary<infer T> ? T : never

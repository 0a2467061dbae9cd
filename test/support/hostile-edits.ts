import fc from 'fast-check'
import { BASES } from './hostile-bases.ts'
import { FILES } from './hostile-parties.ts'
import { oddJson, oddText } from './hostile-text.ts'
import { anyToken, mintToken, type TokenCase } from './hostile-tokens.ts'
import type { Draft, World } from './hostile-world.ts'
import { RESOURCE } from './story.ts'

/** What is done to the parameters of a request. A number means one that the request has, a text any. */
export type Edit =
  | { do: 'drop' | 'empty'; name: Name }
  | { do: 'repeat'; name: Name; times: number }
  | { do: 'set' | 'add'; name: Name; text: string }
  | { do: 'swap' | 'copy'; name: Name; other: Name }
  | { do: 'cut' | 'insert'; name: Name; at: number; text: string }
  | { do: 'token'; name: Name; token: TokenCase }
  /** What another request has there. */
  | { do: 'borrow'; names: readonly string[]; base: string }
type Name = string | number

const NAMES = [
  ...['grant_type', 'requested_token_type', 'audience', 'resource', 'scope', 'subject_token'],
  ...['subject_token_type', 'actor_token', 'actor_token_type', 'authorization_details'],
  ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
  ...['agent_platform', 'agent_context_id', 'code', 'redirect_uri', 'code_verifier'],
  ...['refresh_token', '__proto__', 'constructor', 'toString', '', 'a[b]', 'scope[]', '\0'],
]
const CLIENT = ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type']
const TOGETHER = [
  ['subject_token', 'subject_token_type'],
  ['subject_token'],
  ['actor_token', 'actor_token_type'],
  [...CLIENT, 'authorization'],
  ['code', 'code_verifier'],
  ['refresh_token'],
]
const SCOPES = [
  ...['docs.read', 'docs.write', 'docs.read docs.write', 'docs.read  docs.write', 'files.read'],
  ...['openid', 'docs.read docs.read', ' docs.read', 'docs.read "', 'delegate offline_access'],
]
const PLACES = [
  RESOURCE,
  FILES,
  RESOURCE.slice(0, -1),
  `${RESOURCE}docs`,
  'https://API.paperclip.example:443/',
]
/** Where a token belongs, and of which kind. */
const TOKENS: [name: string, like: string][] = [
  ['subject_token', 'an ID token'],
  ['subject_token', 'an ID token of the upstream'],
  ['subject_token', 'an access token'],
  ['actor_token', 'an actor token'],
  ['client_assertion', 'a client assertion'],
]

export function anyEdit(world: World): fc.Arbitrary<Edit> {
  const { mint, issued, parties } = world
  const base = fc.constantFrom(...Object.keys(BASES))
  const name: fc.Arbitrary<Name> = fc.oneof(
    { weight: 3, arbitrary: fc.nat(12) },
    { weight: 1, arbitrary: fc.constantFrom(...NAMES) },
  )
  const audience = fc.constantFrom(...Object.values(parties.audiences))
  const set = (field: string, text: fc.Arbitrary<string>): fc.Arbitrary<Edit> =>
    fc.record({
      do: fc.constantFrom('set' as const, 'add' as const),
      name: fc.constant(field),
      text,
    })
  const tokenAt = ([field, like]: [string, string]): fc.Arbitrary<Edit> =>
    fc.record({
      do: fc.constant('token' as const),
      name: fc.constant(field),
      token: anyToken(mint, issued, like),
    })
  const meant: fc.Arbitrary<Edit>[] = [
    fc.record({ do: fc.constant('borrow' as const), names: fc.constantFrom(...TOGETHER), base }),
    set('audience', audience),
    set('scope', fc.constantFrom(...SCOPES)),
    set('resource', fc.constantFrom(...PLACES)),
    set('authorization_details', oddJson),
    fc.oneof(...TOKENS.map(tokenAt)),
  ]
  const blind: fc.Arbitrary<Edit>[] = [
    fc.record({ do: fc.constantFrom('drop' as const, 'empty' as const), name }),
    fc.record({ do: fc.constant('repeat' as const), name, times: fc.integer({ min: 2, max: 25 }) }),
    fc.record({ do: fc.constantFrom('set' as const, 'add' as const), name, text: oddText }),
    fc.record({ do: fc.constantFrom('swap' as const, 'copy' as const), name, other: name }),
    fc.record({
      do: fc.constantFrom('cut' as const, 'insert' as const),
      name,
      at: fc.nat(800),
      text: oddText,
    }),
    fc.record({ do: fc.constant('token' as const), name, token: anyToken(mint, issued) }),
  ]
  return fc.oneof(
    ...meant.map((arbitrary) => ({ weight: 2, arbitrary })),
    ...blind.map((arbitrary) => ({ weight: 1, arbitrary })),
  )
}

/** @param minted gets the tokens that were made for it */
export async function spoil(
  world: World,
  draft: Draft,
  edit: Edit,
  minted: string[],
): Promise<void> {
  if (edit.do === 'borrow') return borrow(world, draft, edit)
  const called = (name: Name): string =>
    typeof name === 'string' ? name : (draft.fields[name % draft.fields.length]?.[0] ?? 'x')
  const fieldOf = (field: string) => draft.fields.find(([known]) => known === field)?.[1]
  const name = called(edit.name)
  const old = fieldOf(name)
  switch (edit.do) {
    case 'drop':
      return set(draft, name, undefined)
    case 'empty':
      return set(draft, name, '')
    case 'repeat':
      for (let time = 1; time < edit.times; time += 1) draft.fields.push([name, old ?? 'x'])
      return
    case 'set':
      return set(draft, name, edit.text)
    case 'add':
      draft.fields.push([name, edit.text])
      return
    case 'swap':
    case 'copy': {
      const other = called(edit.other)
      set(draft, name, fieldOf(other))
      if (edit.do === 'swap') set(draft, other, old)
      return
    }
    case 'cut':
      return set(draft, name, old?.slice(0, edit.at))
    case 'insert':
      return set(
        draft,
        name,
        `${old?.slice(0, edit.at) ?? ''}${edit.text}${old?.slice(edit.at) ?? ''}`,
      )
    case 'token': {
      const token = await mintToken(world.mint, edit.token)
      minted.push(token)
      return set(draft, name, token)
    }
  }
}

async function borrow(
  world: World,
  draft: Draft,
  { names, base }: Extract<Edit, { do: 'borrow' }>,
): Promise<void> {
  const lender = await BASES[base]?.(world)
  if (lender === undefined) return
  draft.fields = [
    ...draft.fields.filter(([name]) => !names.includes(name)),
    ...lender.fields.filter(([name]) => names.includes(name)),
  ]
  if (!names.includes('authorization')) return
  const { authorization: _, ...headers } = draft.headers
  const { authorization } = lender.headers
  draft.headers = authorization ? { ...headers, authorization } : headers
}

function set(draft: Draft, name: string, value: string | undefined): void {
  draft.fields = draft.fields.filter(([known]) => known !== name)
  if (value !== undefined) draft.fields.push([name, value])
}

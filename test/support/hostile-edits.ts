import fc from 'fast-check'
import { BASES } from './hostile-bases.ts'
import {
  anyFieldEdit,
  anyName,
  anySetting,
  called,
  type FieldEdit,
  type Name,
  setField,
  spoilFields,
} from './hostile-fields.ts'
import { FILES } from './hostile-parties.ts'
import { oddJson } from './hostile-text.ts'
import { anyToken, mintToken, type TokenCase } from './hostile-tokens.ts'
import type { Draft, World } from './hostile-world.ts'
import { RESOURCE } from './story.ts'

/** What is done to the parameters of a request to the token endpoint. */
export type Edit =
  | FieldEdit
  | { do: 'token'; name: Name; token: TokenCase }
  /** What another request has there. */
  | { do: 'borrow'; names: readonly string[]; base: string }

const NAMES = [
  ...['grant_type', 'requested_token_type', 'audience', 'resource', 'scope', 'subject_token'],
  ...['subject_token_type', 'actor_token', 'actor_token_type', 'authorization_details'],
  ...['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'],
  ...['agent_platform', 'agent_context_id', 'code', 'redirect_uri', 'code_verifier'],
  'refresh_token',
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
  const tokenFor = (name: fc.Arbitrary<Name>, like?: string): fc.Arbitrary<Edit> =>
    fc.record({ do: fc.constant('token' as const), name, token: anyToken(mint, issued, like) })
  const set = (name: string, text: fc.Arbitrary<string>): fc.Arbitrary<Edit> =>
    anySetting(fc.constant(name), text)
  const meant: fc.Arbitrary<Edit>[] = [
    fc.record({
      do: fc.constant('borrow' as const),
      names: fc.constantFrom(...TOGETHER),
      base: fc.constantFrom(...Object.keys(BASES)),
    }),
    set('audience', fc.constantFrom(...Object.values(parties.audiences))),
    set('scope', fc.constantFrom(...SCOPES)),
    set('resource', fc.constantFrom(...PLACES)),
    set('authorization_details', oddJson),
    fc.oneof(...TOKENS.map(([name, like]) => tokenFor(fc.constant(name), like))),
  ]
  return fc.oneof(
    ...meant.map((arbitrary) => ({ weight: 2, arbitrary })),
    { weight: 5, arbitrary: anyFieldEdit(NAMES) },
    { weight: 1, arbitrary: tokenFor(anyName(NAMES)) },
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
  if (edit.do !== 'token') {
    draft.fields = spoilFields(draft.fields, edit)
    return
  }
  const token = await mintToken(world.mint, edit.token)
  minted.push(token)
  draft.fields = setField(draft.fields, called(draft.fields, edit.name), token)
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

import fc from 'fast-check'
import { BASES } from './hostile-bases.ts'
import { anyEdit, type Edit, spoil } from './hostile-edits.ts'
import { writeFields } from './hostile-fields.ts'
import { oddText } from './hostile-text.ts'
import { anyToken, mintToken, type TokenCase } from './hostile-tokens.ts'
import type { Draft, World } from './hostile-world.ts'
import type { Ask } from './house.ts'

/** A good request and what is done to it, in words that a failure can show. */
export type RequestCase = {
  base: string
  edits: Edit[]
  headers: HeaderEdit[]
  noise: Noise | undefined
  /** Sent again as it is: whatever serves once is spent by then. */
  again: boolean
}
type HeaderEdit =
  | { name: string; values: string[] }
  | { name: 'dpop'; proofs: TokenCase[] }
  | { name: string; again: number }
/** Bytes in a body where none belong: from `at` on, in place of as many as `instead`. */
type Noise = { at: number; instead: number; bytes: string }

const HEADERS = fc.oneof(
  fc.record({
    name: fc.constant('authorization'),
    values: fc.array(
      fc.oneof(
        oddText,
        oddText.map((text) => `Basic ${Buffer.from(text).toString('base64')}`),
        fc
          .tuple(oddText, oddText)
          .map((pair) => `Basic ${Buffer.from(pair.join(':')).toString('base64')}`),
        fc.constantFrom('Basic', 'Bearer x', 'DPoP a.b.c', 'basic ====', 'Basic Og==', ''),
      ),
      { minLength: 1, maxLength: 3 },
    ),
  }),
  fc.record({
    name: fc.constant('dpop'),
    values: fc.array(
      fc.oneof(oddText, fc.constantFrom('a.b.c', ',', 'a.b.c,', 'x'.repeat(20_000))),
      {
        minLength: 1,
        maxLength: 3,
      },
    ),
  }),
  fc.record({
    name: fc.constant('content-type'),
    values: fc.array(
      fc.constantFrom(
        'application/x-www-form-urlencoded;charset=utf-16',
        'application/x-www-form-urlencoded; boundary="',
        'APPLICATION/X-WWW-FORM-URLENCODED',
        'application/json',
        'multipart/form-data; boundary=x',
        'text/plain; charset="',
        '/',
        '',
        'x'.repeat(1_000),
        '__proto__',
      ),
      { minLength: 1, maxLength: 2 },
    ),
  }),
  fc.record({
    name: fc.constantFrom('content-encoding', 'transfer-encoding', 'expect', 'upgrade', 'range'),
    values: fc.array(fc.constantFrom('gzip', 'br', 'chunked', '100-continue', 'x', ''), {
      minLength: 1,
      maxLength: 2,
    }),
  }),
  fc.record({
    name: fc.constantFrom('x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'forwarded'),
    values: fc.array(
      fc.constantFrom('\0', '::::', '127.0.0.1', 'x'.repeat(2_000), 'evil.example'),
      {
        minLength: 1,
        maxLength: 2,
      },
    ),
  }),
  fc.record({
    name: fc.constantFrom('cookie', 'accept', 'host', 'origin', 'x-request-id', '__proto__', 'te'),
    values: fc.array(fc.oneof(oddText, fc.constantFrom('session=%00', 'session=; ;;=', '*/*')), {
      minLength: 1,
      maxLength: 2,
    }),
  }),
  fc.record({
    name: fc.constantFrom('authorization', 'dpop'),
    again: fc.integer({ min: 2, max: 3 }),
  }),
)

type Wanted = { bases?: readonly string[]; edits?: number; proofs?: boolean }

/** Any request of the token endpoint: one or several things are wrong with it, or nothing is. */
export function anyRequest(
  world: World,
  { bases = Object.keys(BASES), edits = 3, proofs = false }: Wanted = {},
): fc.Arbitrary<RequestCase> {
  const token = (like?: string) => anyToken(world.mint, world.issued, like)
  const proof = fc.record({
    name: fc.constant('dpop' as const),
    proofs: fc.array(token('a DPoP proof'), { minLength: 1, maxLength: 2 }),
  })
  const header: fc.Arbitrary<HeaderEdit> = fc.oneof(
    { weight: proofs ? 9 : 1, arbitrary: proof },
    { weight: 3, arbitrary: HEADERS },
  )
  const noise = fc.record({
    at: fc.nat(1_200),
    instead: fc.nat(3),
    bytes: fc.oneof(
      fc.constantFrom('%', '%zz', '%ff%fe', '%ed%a0%80', '%c0%80', '%00', '&', '&&=&', ';', '+'),
      fc
        .uint8Array({ minLength: 1, maxLength: 8 })
        .map((bytes) => Buffer.from(bytes).toString('latin1')),
    ),
  })
  return fc.record({
    base: fc.constantFrom(...bases),
    edits: fc.array(anyEdit(world), { maxLength: edits }),
    headers: fc.oneof(
      { weight: proofs ? 0 : 2, arbitrary: fc.constant<HeaderEdit[]>([]) },
      { weight: 1, arbitrary: fc.array(header, { minLength: 1, maxLength: 2 }) },
    ),
    noise: seldom(noise),
    again: fc.nat(9).map((number) => number === 9),
  })
}

const seldom = <One>(one: fc.Arbitrary<One>): fc.Arbitrary<One | undefined> =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: one })

export type Written = Ask & { url: string; minted: string[] }

/** Writes it, with what it holds of tokens that were made for it. */
export async function writeRequest(world: World, of: RequestCase): Promise<Written> {
  const draft = await BASES[of.base]?.(world)
  if (draft === undefined) throw new Error(`no base ${of.base}`)
  const minted: string[] = []
  for (const edit of of.edits) await spoil(world, draft, edit, minted)
  const headers: Draft['headers'] = {
    'content-type': ['application/x-www-form-urlencoded'],
    ...draft.headers,
  }
  for (const edit of of.headers) {
    if ('again' in edit) headers[edit.name] = again(headers[edit.name] ?? [], edit.again)
    else if ('values' in edit) headers[edit.name] = edit.values
    else {
      headers.dpop = await Promise.all(edit.proofs.map((one) => mintToken(world.mint, one)))
      minted.push(...headers.dpop)
    }
  }
  const body = Buffer.from(writeFields(draft.fields))
  return {
    method: 'POST',
    url: '/oauth2/token',
    headers,
    payload: withNoise(body, of.noise),
    minted,
  }
}

function withNoise(body: Buffer, noise: Noise | undefined): Buffer {
  if (noise === undefined) return body
  const at = noise.at % (body.length + 1)
  const bytes = Buffer.from(noise.bytes, 'latin1')
  return Buffer.concat([body.subarray(0, at), bytes, body.subarray(at + noise.instead)])
}

const again = <One>(values: One[], times: number): One[] =>
  Array.from({ length: times }, () => values).flat()

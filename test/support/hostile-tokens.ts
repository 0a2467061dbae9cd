import { type KeyObject, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { signJws } from '../../src/oauth/jws.ts'
import { oddValue } from './hostile-text.ts'
import type { House } from './house.ts'

/**
 * Tokens of any kind, signed by anybody, with anything wrong with them (TV-60): described in values that a
 * failure can show, and made when they are sent, for most of them serve once.
 */
export type TokenCase = { issued: string } | Forged
type Forged = {
  /** Whose claims it has, and unless it says otherwise whose `typ` and whose signature. */
  like: string
  by: string | undefined
  typ: string | null | undefined
  claims: [name: string, value: ClaimCase][]
  header: [name: string, value: unknown][]
  mangled: keyof typeof MANGLED
}
type ClaimCase = { is: unknown } | { inSeconds: number } | { known: string } | { token: TokenCase }

/** Of one kind of token: with these claims there is nothing wrong with it. */
export type Pattern = { typ: string | undefined; by: string; claims(): Record<string, unknown> }
export type Signer =
  | { key: KeyObject; alg: 'ES256'; header: object }
  | { purpose: 'id_token' | 'id_jag' | 'seal'; alg: 'ES256' | 'RS256' }

/** What the tokens are made of. */
export type Mint = {
  house: House
  patterns: Record<string, Pattern>
  signers: Record<string, Signer>
  /** Tokens that were truly issued, as they are now. */
  issued(name: string): string
  /** Values that mean something here. */
  known: Record<string, unknown>
}

const CLAIMS = [
  ...['iss', 'sub', 'aud', 'azp', 'exp', 'iat', 'nbf', 'jti', 'sid', 'auth_time', 'acr', 'amr'],
  ...['client_id', 'scope', 'cnf', 'nonce', 'act', 'actor_token', 'agent_idp_grant', 'events'],
  ...['htm', 'htu', 'ath', 'email', 'email_verified', 'phone_number', 'name', '__proto__', ''],
]
const HEADER = ['typ', 'alg', 'kid', 'jwk', 'jku', 'x5c', 'crit', 'b64', 'zip', '__proto__']
const TYPES = [
  ...['JWT', 'at+jwt', 'oauth-id-jag+jwt', 'actor-token+jwt', 'dpop+jwt', 'logout+jwt', ''],
  ...['client-authentication+jwt', 'audit-seal+jwt', 'secevent+jwt', 'AT+JWT', 'application/jwt'],
]

const alg = (header: string, name: string) => {
  const { alg: _, ...others } = JSON.parse(Buffer.from(header, 'base64url').toString('utf8'))
  return part({ alg: name, ...others })
}
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

const MANGLED = {
  not: (jws: string) => jws,
  'alg none': (jws: string) => {
    const [head = '', body = ''] = jws.split('.')
    return `${alg(head, 'none')}.${body}.`
  },
  'alg HS256': (jws: string) => {
    const [head = '', body = '', tail = ''] = jws.split('.')
    return `${alg(head, 'HS256')}.${body}.${tail}`
  },
  'without its signature': (jws: string) => jws.replace(/[^.]*$/, ''),
  cut: (jws: string) => jws.slice(0, -3),
  'with a part more': (jws: string) => `${jws}.${jws.split('.')[2]}`,
  padded: (jws: string) => jws.replaceAll('.', '=.'),
  'in JSON': (jws: string) => {
    const [head = '', body = '', tail = ''] = jws.split('.')
    return JSON.stringify({ payload: body, signatures: [{ protected: head, signature: tail }] })
  },
  'with another signature': (jws: string) =>
    jws.replace(/.{8}$/, (end) => [...end].reverse().join('')),
  'behind a space': (jws: string) => ` ${jws}`,
  'with a line break': (jws: string) => jws.replace('.', '.\n'),
} as const

/** Any token of this mint; with `like` mostly of that kind. */
export function anyToken(
  { patterns, signers, known }: Pick<Mint, 'patterns' | 'signers' | 'known'>,
  issued: readonly string[],
  like?: string,
): fc.Arbitrary<TokenCase> {
  const often = <One>(usual: One, others: fc.Arbitrary<One>) =>
    fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: others })
  const names = fc.constantFrom(...Object.keys(patterns))
  return fc.letrec<{ token: TokenCase }>((tie) => {
    const claim = fc.oneof(
      { withCrossShrink: true },
      { weight: 4, arbitrary: fc.record({ is: oddValue }) },
      {
        weight: 2,
        arbitrary: fc.record({
          inSeconds: fc.constantFrom(-1e9, -3600, -61, -60, -1, 0, 1, 60, 61, 600, 3600, 1e9),
        }),
      },
      { weight: 2, arbitrary: fc.record({ known: fc.constantFrom(...Object.keys(known)) }) },
      { weight: 1, arbitrary: fc.record({ token: tie('token') }) },
    )
    const forged = fc.record({
      like: like === undefined ? names : often(like, names),
      by: often<string | undefined>(undefined, fc.constantFrom(...Object.keys(signers))),
      typ: often<string | null | undefined>(undefined, fc.constantFrom(null, ...TYPES)),
      claims: fc.array(fc.tuple(fc.constantFrom(...CLAIMS), claim), { maxLength: 2 }),
      header: often(
        [] as [string, unknown][],
        fc.array(fc.tuple(fc.constantFrom(...HEADER), oddValue), { maxLength: 2 }),
      ),
      mangled: often<keyof typeof MANGLED>(
        'not',
        fc.constantFrom(...(Object.keys(MANGLED) as (keyof typeof MANGLED)[])),
      ),
    })
    return {
      token: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        { weight: 1, arbitrary: fc.record({ issued: fc.constantFrom(...issued) }) },
        { weight: 3, arbitrary: forged },
      ),
    }
  }).token
}

/** The token itself. */
export async function mintToken(mint: Mint, token: TokenCase): Promise<string> {
  if ('issued' in token) return mint.issued(token.issued)
  const { typ: usual, by: usually, claims: standard } = mint.patterns[token.like] as Pattern
  const claims = new Map(Object.entries(standard()))
  for (const [name, value] of token.claims) claims.set(name, await claimValue(mint, value))
  const payload = Object.fromEntries(claims)
  const typ = token.typ === undefined ? usual : (token.typ ?? undefined)
  const signer = mint.signers[token.by ?? usually] as Signer
  if ('purpose' in signer) {
    const { keys } = mint.house.deps
    const { jws } = await keys.sign(signer.purpose, signer.alg, typ as string, payload)
    return MANGLED[token.mangled](jws)
  }
  const header = Object.fromEntries([
    ...Object.entries({ ...signer.header, ...(typ !== undefined && { typ }) }),
    ...token.header,
  ])
  return MANGLED[token.mangled](signJws(header, payload, signer.alg, signer.key))
}

/** A token of that kind with nothing wrong with it. */
export const goodToken = (
  mint: Mint,
  like: string,
  claims: Record<string, unknown> = {},
  by?: string,
): Promise<string> =>
  mintToken(mint, {
    like,
    by,
    typ: undefined,
    claims: Object.entries(claims).map(([name, is]) => [name, { is }]),
    header: [],
    mangled: 'not',
  })

async function claimValue(mint: Mint, value: ClaimCase): Promise<unknown> {
  if ('is' in value) return value.is
  if ('known' in value) return mint.known[value.known]
  if ('token' in value) return mintToken(mint, value.token)
  return secondsNow(mint.house) + value.inSeconds
}

export const secondsNow = ({ clock }: Pick<House, 'clock'>): number =>
  Math.floor(clock.now.getTime() / 1000)

export const newJti = (): string => randomUUID()

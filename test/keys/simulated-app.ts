import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { KeySet } from '../../src/keys/key-ring.ts'

// A relying app with a copy of the key set, under a clock of the test's: what the services' sample code does
// (spec: a floor of ten minutes, a ceiling of a day, one more fetch for an unknown `kid`, thirty seconds apart).

export type Caching = {
  name: string
  /** Seconds that a copy is kept, of the `max-age` it came with. */
  keep(maxAge: number): number
  /** Whether an unknown `kid` leads to another fetch. */
  asksAgain: boolean
}

const FLOOR = 600
const CEILING = 86_400
const COOL_DOWN = 30

export const APPS: Caching[] = [
  { name: 'by max-age', keep: (maxAge) => clamp(maxAge), asksAgain: true },
  { name: 'as long as may be', keep: () => CEILING, asksAgain: true },
  // What DS-29 asks for, whatever else apps do: a copy of up to a day is enough.
  { name: 'never again within a day', keep: () => CEILING, asksAgain: false },
  { name: 'never again within a day, at other times', keep: () => CEILING, asksAgain: false },
]

type Jwk = { kid: string; alg: string } & Record<string, unknown>
type Copy = { fetchedAt: number; until: number; keys: Map<string, Jwk> }
export type Token = { kid: string; input: Buffer; signature: Buffer; verified?: Jwk }

/** @param now in seconds */
export function openApp(caching: Caching, now: () => number, fetch: () => Promise<KeySet>) {
  const figures = { verified: 0, fetched: 0, unknown: 0 }
  let copy: Copy | undefined

  const renew = async (): Promise<Copy> => {
    // To be asked for again within seconds, which here are none: the machine was busy.
    let set = await fetch()
    for (let tries = 0; set.stale && tries < 100; tries++) set = await fetch()
    const { body, stale } = set
    const keys: Jwk[] = JSON.parse(body).keys
    figures.fetched += 1
    copy = {
      fetchedAt: now(),
      until: now() + caching.keep(stale ? 10 : 300),
      keys: new Map(keys.map((key) => [key.kid, key])),
    }
    return copy
  }
  return {
    name: caching.name,
    figures,
    forget() {
      copy = undefined
    },
    /** What is wrong with the token as this app sees it; undefined: nothing. */
    async refuses(token: Token): Promise<string | undefined> {
      let held = copy && now() < copy.until ? copy : await renew()
      if (!held.keys.has(token.kid)) {
        figures.unknown += 1
        if (caching.asksAgain && now() - held.fetchedAt >= COOL_DOWN) held = await renew()
      }
      const jwk = held.keys.get(token.kid)
      if (!jwk) return `no such kid in a copy of ${now() - held.fetchedAt} s`
      figures.verified += 1
      if (token.verified && isSame(token.verified, jwk)) return undefined
      if (!isSigned(token, jwk)) return 'the signature is wrong'
      token.verified = jwk
      return undefined
    },
  }
}

const clamp = (maxAge: number) => Math.min(Math.max(maxAge, FLOOR), CEILING)

const imported = new Map<string, KeyObject>()

function isSigned({ input, signature }: Token, jwk: Jwk): boolean {
  const text = JSON.stringify(jwk)
  const key = imported.get(text) ?? createPublicKey({ key: jwk, format: 'jwk' })
  imported.set(text, key)
  if (jwk.alg === 'EdDSA') return verify(null, input, key, signature)
  if (jwk.alg === 'PS256') {
    const padding = constants.RSA_PKCS1_PSS_PADDING
    return verify('sha256', input, { key, padding, saltLength: 32 }, signature)
  }
  if (jwk.alg === 'RS256') return verify('sha256', input, key, signature)
  const hash = jwk.alg === 'ES384' ? 'sha384' : 'sha256'
  return verify(hash, input, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

const isSame = (one: Jwk, other: Jwk): boolean =>
  one === other || (one.alg === other.alg && one.x === other.x && one.n === other.n)

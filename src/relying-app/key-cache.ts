import { createLocalJWKSet, type JSONWebKeySet } from 'jose'
import { type Fetched, IssuerUnavailable } from './fetch-document.ts'

// The keys of one issuer (DS-24):
//   fresh   for as long as the issuer says, but ten minutes at least and a day at most
//   stale   asked for again before it answers anything
//   a `kid` it does not know makes it ask again, once, and not more often than every half minute

const FLOOR = 10 * 60
const CEILING = 24 * 60 * 60
const COOL_DOWN = 30
/** Shorter, for then nobody can be let in. */
const COOL_DOWN_AFTER_FAILURE = 5

export type Key = Awaited<ReturnType<ReturnType<typeof createLocalJWKSet>>>
export type KeySet = Fetched & { jwksUri: string }
export type FoundKey = {
  key: Key
  /** Where it was found. */
  jwksUri: string
}
type Kept = { jwksUri: string; staleAt: number; find: ReturnType<typeof createLocalJWKSet> }

/**
 * Finds the key that a header names by `alg` and `kid`; undefined when there is none, also after asking.
 * `now` is a NumericDate.
 * @throws {IssuerUnavailable} when that cannot be told now
 */
export function cacheKeys(load: () => Promise<KeySet>) {
  let kept: Kept | undefined
  let last: { outcome: Promise<Kept>; until: number } | undefined

  /** The outcome of one request, good or bad, is everybody's until another is due. */
  const ask = (now: number): Promise<Kept> => {
    if (last && now < last.until) return last.outcome
    const asking = {
      outcome: load().then((loaded) => {
        kept = keep(loaded, now)
        return kept
      }),
      until: now + COOL_DOWN,
    }
    asking.outcome.catch(() => {
      asking.until = now + COOL_DOWN_AFTER_FAILURE
    })
    last = asking
    return asking.outcome
  }

  return async (header: { alg: string; kid: string }, now: number) => {
    const known = kept && now < kept.staleAt ? kept : await ask(now)
    return (await findIn(known, header)) ?? findIn(await ask(now), header)
  }
}

function keep({ document, maxAge = FLOOR, jwksUri }: KeySet, now: number): Kept {
  const staleAt = now + Math.min(Math.max(maxAge, FLOOR), CEILING)
  try {
    const keys = { ...document, keys: namingAlg(document.keys) } as JSONWebKeySet
    return { jwksUri, staleAt, find: createLocalJWKSet(keys) }
  } catch (cause) {
    throw new IssuerUnavailable(`${jwksUri} is not a key set`, { cause })
  }
}

/**
 * An RSA key serves two algorithms. Which of them, its issuer says, or it is RS256: a token does not choose
 * (RFC 8725 §3.1). Of the other kinds each has one.
 */
const namingAlg = (keys: unknown): unknown =>
  Array.isArray(keys)
    ? keys.map((key) => (key?.kty === 'RSA' && !('alg' in key) ? { ...key, alg: 'RS256' } : key))
    : keys

/** Two keys of one name, or one that cannot be used, are no key. */
async function findIn(
  { find, jwksUri }: Kept,
  header: { alg: string; kid: string },
): Promise<FoundKey | undefined> {
  const key = await find(header).catch(() => undefined)
  return key && { key, jwksUri }
}

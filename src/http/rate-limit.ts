import { isIPv6 } from 'node:net'
import type pg from 'pg'
import { RateLimiterPostgres, RateLimiterRes } from 'rate-limiter-flexible'
import { hashSecret } from '../oauth/secret.ts'

type Surroundings = { pool: pg.Pool; config: { rateLimits: boolean } }

/** `retryAfter`: seconds until the window ends. `first`: no try of this window was refused before. */
export type Exceeded = { retryAfter: number; first: boolean }

/** Tries within a window, counted in the database, so that all replicas count together. */
export type RateLimit = {
  /** Counts a try; undefined while within the limit. */
  take(key: string): Promise<Exceeded | undefined>
  /** Takes a try back: it was a success. */
  giveBack(key: string): Promise<void>
  /** Forgets all tries of the key. */
  reset(key: string): Promise<void>
}

type Settings = {
  name: string
  points: number
  /** Seconds. */
  duration: number
  /** Once a key is beyond the limit this process knows, and writes nothing more until the window ends. */
  remembered?: boolean
}

/** `points` tries in `duration` seconds. Keys are kept as digests: they may be made of an address. */
export function createRateLimit(
  { pool, config }: Surroundings,
  { name, points, duration, remembered = false }: Settings,
): RateLimit {
  if (!config.rateLimits) return UNLIMITED
  const limiter = new RateLimiterPostgres({
    storeClient: pool,
    storeType: 'pool',
    tableName: 'rate_limits',
    tableCreated: true,
    // Those that have expired are tidied up with everything else.
    clearExpiredByTimeout: false,
    keyPrefix: name,
    points,
    duration,
    ...(remembered && { inMemoryBlockOnConsumed: points + 1 }),
  })
  const digest = (key: string) => hashSecret(key).toString('base64url')
  return {
    async take(key) {
      try {
        await limiter.consume(digest(key))
        return undefined
      } catch (refusal) {
        if (!(refusal instanceof RateLimiterRes)) throw refusal
        return {
          retryAfter: Math.max(1, Math.ceil(refusal.msBeforeNext / 1000)),
          first: refusal.consumedPoints === points + 1,
        }
      }
    },
    async giveBack(key) {
      await limiter.reward(digest(key))
    },
    async reset(key) {
      await limiter.delete(digest(key))
    },
  }
}

const UNLIMITED: RateLimit = {
  take: async () => undefined,
  giveBack: async () => undefined,
  reset: async () => undefined,
}

/** What counts as one caller: an IPv4 address, or the /64 that one customer of IPv6 has to itself. */
export function callerOf(address: string): string {
  if (!isIPv6(address)) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1]) return mapped[1]
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  const gap = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length)
  const all = [...front, ...Array<string>(gap).fill('0'), ...back]
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}

/** A relying app that knows the key set by HTTP alone, and keeps a copy of it. */

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { createLocalJWKSet, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import type { Fleet, Member } from './fleet.ts'

export type RelyingApp = {
  name: string
  /** @throws when the token does not verify by what this app may know. */
  verify(token: string): Promise<void>
  /** Asks this replica for the key set, now. */
  fetchFrom(member: Member): void
  figures: { verified: number; fetched: number; unchanged: number; unknownKids: number }
}

export type Caching = {
  name: string
  /** Seconds that a copy is kept, of the `max-age` it came with. */
  keep: (maxAge: number) => number
  /** Seconds after a fetch in which no unknown `kid` leads to another; undefined: it never does. */
  coolDown?: number
}

/** Milliseconds after which an app asks another replica. */
const PATIENCE = 500

type Copy = {
  keys: ReturnType<typeof createLocalJWKSet>
  etag: string
  fetchedAt: number
  until: number
}

/**
 * A copy counts from when it was asked for, as RFC 9111 §4.2.3 has it; of a replica that was stopped at that
 * time, from when it went on: what it says then is not of before. An answer counts however late it
 * arrives, also over one that came earlier.
 */
export function openRelyingApp(fleet: Fleet, { name, keep, coolDown }: Caching): RelyingApp {
  const figures = { verified: 0, fetched: 0, unchanged: 0, unknownKids: 0 }
  let held: Copy | undefined
  let fetching: Promise<Copy> | undefined

  const ask = async (member: Member): Promise<void> => {
    const sentAt = performance.now()
    const before = held
    const headers = before ? { 'if-none-match': before.etag } : {}
    const answer = await fleet.ask(member, (at) =>
      at.inject({ method: 'GET', url: '/.well-known/jwks.json', headers }),
    )
    if (!answer) return
    const wasStopped = member.struckAt <= sentAt
    const fetchedAt = wasStopped ? Math.max(sentAt, member.resumedAt) : sentAt
    const maxAge = /max-age=(\d+)/.exec(String(answer.headers['cache-control']))?.[1]
    const until = fetchedAt + keep(Number(maxAge)) * 1000
    if (before && answer.status === 304) {
      figures.unchanged++
      held = { ...before, fetchedAt, until }
      return
    }
    assert.equal(answer.status, 200, answer.text)
    figures.fetched++
    held = {
      keys: createLocalJWKSet(answer.body),
      etag: String(answer.headers.etag),
      fetchedAt,
      until,
    }
  }
  const fetchCopy = async (): Promise<Copy> => {
    for (const begunAt = performance.now(); ; ) {
      // Fails as a whole when the replica should not have.
      await Promise.race([ask(fleet.any()), pause(PATIENCE)])
      if (held && held.fetchedAt >= begunAt) return held
    }
  }
  const renewed = () => {
    fetching ??= fetchCopy().finally(() => {
      fetching = undefined
    })
    return fetching
  }
  const current = async () => {
    while (!held || performance.now() >= held.until) await renewed()
    return held
  }
  const check = ({ keys }: Copy, token: string) =>
    jwtVerify(token, keys, { issuer: fleet.issuer }).then(() => undefined)

  return {
    name,
    figures,
    fetchFrom: (member) => void ask(member),
    async verify(token) {
      const copy = await current()
      try {
        await check(copy, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
        figures.unknownKids++
        const age = (performance.now() - copy.fetchedAt) / 1000
        if (coolDown === undefined || age < coolDown) {
          const { kid, alg } = decodeProtectedHeader(token)
          throw new Error(`${name} does not know ${alg} ${kid}: its copy is ${age} s old`)
        }
        await check(await renewed(), token)
      }
      figures.verified++
    },
  }
}

/**
 * Agents that never rest while keys rotate: each refreshes at one replica and exchanges at others, and
 * every token is shown to every relying app at once and again until it is over.
 */

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import type { Kysely } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { SIGNING_ALGS, type SigningAlg } from '../../src/oauth/signing-alg.ts'
import { exchange, refresh } from './contestant-requests.ts'
import { type Contestant, makeContestants } from './contestants.ts'
import type { Fleet, Member } from './fleet.ts'
import type { Answer } from './house.ts'
import type { RelyingApp } from './relying-app.ts'

export type RotationLoad = {
  /** Tokens issued, by what they are. */
  issued: { id_token: number; id_jag: number }
  /** Requests with an ID token of which some other replica was the issuer. */
  subjectsElsewhere: number
  kids: Set<string>
  /** Rejects as soon as anything goes wrong. */
  failed: Promise<never>
  /** Sends this replica as many exchanges as there are lanes, with the newest ID tokens of other replicas. */
  exchangeAt(member: Member): void
  /** Ends it, and shows every token that is not over to every app once more. Returns how many those are. */
  end(): Promise<number>
}

type Holder = { of: Contestant; alg: SigningAlg; jagAlg: SigningAlg; idTokens: IdToken[] }
type IdToken = { token: string; by: Member }
type Shown = { token: string; exp: number }

/** Milliseconds that a lane rests after a turn, and the reviewer after a token. */
const REST = 120
const REVIEW = 10
/** Seconds before its end from which a token is no longer shown. */
const MARGIN = 5
/** ID tokens of one agent that are used again. */
const KEPT = 40

export async function startLoad(
  fleet: Fleet,
  db: Kysely<Tables>,
  apps: readonly RelyingApp[],
  lanes: number,
): Promise<RotationLoad> {
  const issued = { id_token: 0, id_jag: 0 }
  const kids = new Set<string>()
  const shown: Shown[] = []
  let subjectsElsewhere = 0
  let over = false
  let fail: (error: unknown) => void = () => undefined
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  failed.catch(() => undefined)

  const show = async (token: string) => {
    await Promise.all(apps.map((app) => app.verify(token)))
  }
  const take = async (kind: keyof typeof issued, token: string, alg: SigningAlg) => {
    const { kid, ...header } = decodeProtectedHeader(token)
    assert.equal(header.alg, alg)
    issued[kind]++
    kids.add(String(kid))
    await show(token)
    shown.push({ token, exp: Number(decodeJwt(token).exp) })
  }
  /** With one of the holder's ID tokens: the newest, or any. */
  const exchangeOne = async (
    { of, jagAlg, idTokens }: Holder,
    member: Member,
    { token, by }: IdToken = pick(idTokens),
  ) => {
    const answer = await fleet.ask(member, (at) => exchange(at, of, { id_token: token }))
    if (!answer) return
    assertGranted(answer, `${member.name}, an ID token of ${by.name}`)
    if (member !== by) subjectsElsewhere++
    await take('id_jag', answer.body.access_token, jagAlg)
  }
  /** False when its refresh token may be lost. */
  const refreshOne = async ({ of, alg, idTokens }: Holder, by: Member): Promise<boolean> => {
    const answer = await fleet.ask(by, (at) => refresh(at, of))
    if (!answer) return false
    assertGranted(answer, by.name)
    of.refresh_token = answer.body.refresh_token
    idTokens.push({ token: answer.body.id_token, by })
    if (idTokens.length > KEPT) idTokens.shift()
    await take('id_token', answer.body.id_token, alg)
    return true
  }

  const holders = await Promise.all(
    Array.from({ length: lanes * SIGNING_ALGS.length }, (_, index) => newHolder(db, index)),
  )
  const lane = async (index: number) => {
    for (let turn = 0; !over; turn++) {
      const at = index + lanes * (turn % SIGNING_ALGS.length)
      const holder = holders[at] as Holder
      const by = fleet.any()
      if (await refreshOne(holder, by)) {
        await exchangeOne(holder, fleet.any(by), holder.idTokens.at(-1))
        await exchangeOne(holder, fleet.any())
      } else holders[at] = await newHolder(db, at)
      await pause(Math.random() * 2 * REST)
    }
  }
  const isLive = ({ exp }: Shown) => exp > Date.now() / 1000 + MARGIN
  const review = async () => {
    for (let next = 0; !over; next++) {
      const one = shown[next % Math.max(shown.length, 1)]
      if (one && isLive(one)) await show(one.token)
      await pause(REVIEW)
    }
  }
  const running = [review(), ...Array.from({ length: lanes }, (_, index) => lane(index))]
  for (const one of running) one.catch(fail)

  return {
    issued,
    get subjectsElsewhere() {
      return subjectsElsewhere
    },
    kids,
    failed,
    exchangeAt(member) {
      const foreign = holders.flatMap((holder) => {
        const newest = holder.idTokens.at(-1)
        return newest && newest.by !== member ? [{ holder, newest }] : []
      })
      for (const { holder, newest } of foreign.slice(0, lanes)) {
        exchangeOne(holder, member, newest).catch(fail)
      }
    },
    async end() {
      over = true
      await Promise.all(running)
      const live = shown.filter(isLive)
      for (const { token } of live) await show(token)
      return live.length
    },
  }
}

/** Every algorithm of ID tokens meets every one of ID-JAGs. */
async function newHolder(db: Kysely<Tables>, index: number): Promise<Holder> {
  const count = SIGNING_ALGS.length
  const alg = SIGNING_ALGS[Math.floor(index / count) % count] as SigningAlg
  const jagAlg = SIGNING_ALGS[index % count] as SigningAlg
  const [of] = await makeContestants(db, 1, { audience: { id_jag_signing_alg: jagAlg } })
  assert.ok(of)
  await db
    .updateTable('agents')
    .set({ id_token_signed_response_alg: alg })
    .where('id', '=', of.agent_id)
    .execute()
  return { of, alg, jagAlg, idTokens: [] }
}

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T

const assertGranted = ({ status, text }: Answer, where: string) =>
  assert.equal(status, 200, `${where}: ${status} ${text}`)

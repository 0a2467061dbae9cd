import type { Transaction } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import type { EventAnswer, Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { OutboundError } from '../http/outbound-error.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { type Answer, answerToKeep, judgeAnswer, type Verdict } from './answer.ts'
import { nextAttemptAt, readRetryAfter } from './back-off.ts'
import {
  type Claimed,
  followIssuer,
  type Held,
  holdClaimed,
  type Outcome,
  type Party,
  writeOutcome,
} from './delivery-queries.ts'
import { lineOfEnd } from './end-line.ts'
import { replaceSignatures } from './queries.ts'
import { typOf } from './revocation-set.ts'
import { signEvents } from './sign.ts'

export type Surroundings = Pick<Deps, 'db' | 'keys' | 'config' | 'now' | 'outbound' | 'log'>

/** What became of an attempt, for those who count. */
export type Attempt = {
  event: Pick<
    Held,
    'id' | 'agent_id' | 'user_id' | 'revocation_id' | 'attempts' | 'created_at' | keyof Party
  >
  status: Outcome['status']
  answer: EventAnswer | undefined
  /** Refused in a way that somebody has to look at. */
  alert: boolean
  /** Taken, though not as it should be. */
  warn: boolean
  /** The audience's metadata are to be read again. */
  reread: boolean
  at: Date
}

/** Bytes of an answer that are read: an error has two short members. */
const MOST_BYTES = 65_536

/**
 * One attempt at an event: it is held while it is sent, and what came of it is written before it is let go. If this
 * process ends in between, or the database lets go of it, the next attempt knows that this one was begun.
 * @returns undefined when there was nothing to do: somebody else has gone on with it.
 */
export async function deliver(deps: Surroundings, claimed: Claimed): Promise<Attempt | undefined> {
  const { db, now } = deps
  let answer: Answer | undefined
  let signed = false
  const attempt = async (tx: Transaction<Tables>) => {
    const event = await holdClaimed(tx, claimed, now())
    if (event === undefined) return undefined
    if (answer === undefined) {
      if (event.overtaken) return supersede(tx, event, now())
      // No key could be had when it was queued, or that key is in no key set any more, or it is for another issuer
      // now. What is sent is committed first.
      if (event.jws === null || event.key_ended || event.aud_now !== event.aud) {
        if (signed) throw new Error('The key of an event ended as soon as it had signed')
        return signAgain(tx, deps, event, true).catch((error) =>
          endUnsigned(tx, event, now(), error),
        )
      }
      answer = await send(deps, event, event.jws)
    }
    const unknown = claimed.unknown && event.outcome_unknown && !signed
    return settle(tx, deps, { event, answer, unknown })
  }
  for (;;) {
    const ended = await db
      .transaction()
      .execute(attempt)
      .catch((error) => {
        // The database was away just then. What is known is written if it is back, or else learnt at the next attempt.
        if (answer === undefined) throw error
        return db.transaction().execute(attempt)
      })
    if (ended !== 'signed') return ended
    signed = true
  }
}

async function signAgain(
  tx: Transaction<Tables>,
  deps: Surroundings,
  event: Held,
  aboutToSend: boolean,
): Promise<'signed'> {
  const about = { ...event, aud: event.aud_now }
  await replaceSignatures(tx, await signEvents(tx, deps, [about], deps.now()), aboutToSend)
  if (event.aud_now !== event.aud) await followIssuer(tx, event.id)
  return 'signed'
}

async function send({ outbound, log }: Surroundings, event: Held, body: string): Promise<Answer> {
  try {
    const { status, headers, ...answer } = await outbound.request({
      url: event.endpoint,
      method: 'POST',
      headers: {
        'content-type': `application/${typOf(event.dialect)}`,
        accept: 'application/json',
      },
      body,
      maxBytes: MOST_BYTES,
    })
    return { status, body: answer.body, retryAfter: headers['retry-after'] }
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error
    const { id, audience_id } = event
    log.debug({ err: error, id, audience_id }, 'an event could not be sent')
    return { status: error.status, failure: error.reason }
  }
}

type Answered = { event: Held; answer: Answer; unknown: boolean }

/** Writes what an answer means. */
async function settle(
  tx: Transaction<Tables>,
  deps: Surroundings,
  { event, answer, unknown }: Answered,
): Promise<Attempt> {
  const now = deps.now()
  const since = event.resent_at ?? event.created_at
  const sent = { dialect: event.dialect, unknown, remedies: event.remedies, since }
  const verdict = judgeAnswer(answer, sent, now)
  const kept = answerToKeep(answer, event.dialect)
  const outcome = outcomeOf(verdict, { event, answer, unknown }, now)
  await writeOutcome(tx, event.id, { ...outcome, answer: kept })
  // The other signature sets out with nothing known against it.
  if (verdict.is === 'again' && verdict.remedy === 'new_jti')
    await signAgain(tx, deps, event, false)
  if (outcome.status !== 'queued') await record(tx, event, outcome.status, now, kept)
  return {
    event,
    status: outcome.status,
    answer: kept,
    alert: verdict.is === 'failed' && verdict.alert,
    warn: verdict.is === 'delivered' && verdict.warn,
    reread: verdict.is === 'again' && verdict.remedy === 'metadata',
    at: now,
  }
}

type Written = Omit<Outcome, 'answer'>

function outcomeOf(verdict: Verdict, { event, answer, unknown }: Answered, at: Date): Written {
  const { remedies } = event
  const ended = { at, next_attempt_at: null, outcome_unknown: false, remedies }
  if (verdict.is !== 'again') return { ...ended, status: verdict.is }
  const next = whenAgain(verdict, { event, answer, unknown }, at)
  if (next === undefined) return { ...ended, status: 'failed' }
  return {
    status: 'queued',
    at,
    next_attempt_at: next,
    outcome_unknown: unknown || verdict.unknown,
    remedies: verdict.remedy ? [...remedies, verdict.remedy] : remedies,
  }
}

function whenAgain(
  { after, atLeast, until }: Extract<Verdict, { is: 'again' }>,
  { event, answer }: Answered,
  now: Date,
): Date | undefined {
  const { expires_at, attempts } = event
  const chance = Math.random()
  const last = until && until < expires_at ? until : expires_at
  if (after !== undefined)
    return now < last ? addSeconds(now, after * (1 + chance / 20)) : undefined
  const asked = Math.max(atLeast, readRetryAfter(answer.retryAfter, now))
  return nextAttemptAt({ attempts, chance, atLeast: asked, now, until: last })
}

/** The user has consented since: what it would take away now is not what it was about. */
async function supersede(tx: Transaction<Tables>, event: Held, at: Date): Promise<Attempt> {
  const { remedies } = event
  const nothing = { next_attempt_at: null, outcome_unknown: false, remedies, answer: null }
  await writeOutcome(tx, event.id, { ...nothing, status: 'superseded', at })
  await record(tx, event, 'superseded', at)
  const of = { answer: undefined, alert: false, warn: false, reread: false }
  return { event, status: 'superseded', ...of, at }
}

/**
 * No key could be had for as long as it was to be tried: it ends like one that nobody took, though nothing was sent.
 * @throws what was wrong, while there is time left
 */
async function endUnsigned(
  tx: Transaction<Tables>,
  event: Held,
  at: Date,
  error: unknown,
): Promise<Attempt> {
  if (at < event.expires_at) throw error
  const { remedies } = event
  const answer = { failure: 'not_signed' }
  const ended = { next_attempt_at: null, outcome_unknown: false, remedies, answer }
  await writeOutcome(tx, event.id, { ...ended, status: 'failed', at })
  await record(tx, event, 'failed', at, answer)
  return { event, status: 'failed', answer, alert: false, warn: false, reread: false, at }
}

const record = (
  tx: Transaction<Tables>,
  event: Held,
  status: Exclude<Outcome['status'], 'queued'>,
  at: Date,
  answer?: EventAnswer,
) => recordEvent(tx, lineOfEnd(event, status, at, answer))

import type { EventAnswer } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { type Answer, answerToKeep, judgeAnswer } from '../events/answer.ts'
import { nextAttemptAt, readRetryAfter } from '../events/back-off.ts'
import { OutboundError } from '../http/outbound-error.ts'
import { repeatedly } from '../http/repeatedly.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { endEvents, type Push, putOff, takeDue } from './event-queries.ts'
import { openHeader } from './sealed-header.ts'
import { signSet } from './sign-set.ts'
import { noteActivity, noteFailure } from './stream-queries.ts'

/** Milliseconds between two looks for events that are due. */
const EVERY = 1_000
/** Sent at a time by one replica. */
const MOST = 16
/** Seconds after which somebody else sends an event that was taken: longer than any attempt takes. */
const TAKEN_FOR = 60
/** Seconds from the first attempt, after which an event is given up (EV-11). */
const GIVE_UP_AFTER = 72 * 3600
/** Bytes of an answer that are read. */
const LONGEST_ANSWER = 16 * 1024

export const startPushing = (deps: Deps): { stop(): Promise<void> } =>
  repeatedly(EVERY, async () => {
    await pushDue(deps).catch((error) =>
      deps.log.warn({ err: error }, 'events could not be pushed'),
    )
  })

/**
 * Sends what is due (RFC 8935), each event by whoever took it: with the same `jti` and `iat` at every attempt,
 * also after a crash, when nobody knows whether the one before arrived. Returns how many attempts it made.
 */
export async function pushDue(deps: Deps, most = MOST): Promise<number> {
  for (let attempts = 0; ; ) {
    const now = deps.now()
    const until = addSeconds(now, TAKEN_FOR)
    const taken = await takeDue(deps.db, { now, until, limit: most })
    await Promise.all(taken.map((event) => push(deps, event)))
    attempts += taken.length
    if (taken.length < most) return attempts
  }
}

async function push(deps: Deps, event: Push): Promise<void> {
  const { jti, stream_id, attempts } = event
  const answer = await send(deps, event)
  const now = deps.now()
  const since = event.first_attempt_at ?? now
  // A remedy helps once, and what helps at all has helped by the second attempt.
  const remedies = attempts > 1 ? TRIED : []
  const sent = { dialect: 'set', unknown: false, remedies, since } as const
  const verdict = judgeAnswer(answer, sent, now)
  const kept: EventAnswer = answerToKeep(answer, 'set')
  const of = { stream_id, jtis: [jti] }
  if (verdict.is === 'delivered') {
    await endEvents(deps.db, of, { status: 'delivered', at: now, answer: kept })
    await noteActivity(deps.db, stream_id, now)
    return
  }
  await noteFailure(deps.db, stream_id, now)
  const next =
    verdict.is === 'again'
      ? nextAttemptAt({
          attempts,
          chance: Math.random(),
          atLeast: Math.max(
            verdict.atLeast,
            verdict.after ?? 0,
            readRetryAfter(answer.retryAfter, now),
          ),
          now,
          until: verdict.until ?? addSeconds(since, GIVE_UP_AFTER),
        })
      : undefined
  if (next !== undefined) {
    await putOff(deps.db, event, { until: next, answer: kept })
    return
  }
  await endEvents(deps.db, of, { status: 'failed', at: now, answer: kept })
  deps.log.warn({ stream_id, jti, answer: kept }, 'an event could not be delivered to a receiver')
}

const TRIED = ['new_jti', 'cache_window', 'metadata'] as const

/** Never throws: what goes wrong on our side is no answer, and tried again. */
async function send(deps: Deps, event: Push): Promise<Answer> {
  try {
    const headers = ownHeaders(deps, event)
    const body = await signSet(deps, event.aud, event)
    const answer = await deps.outbound.request({
      url: event.endpoint_url,
      method: 'POST',
      headers,
      body,
      maxBytes: LONGEST_ANSWER,
    })
    const retryAfter = answer.headers['retry-after']
    return { status: answer.status, retryAfter, body: answer.body }
  } catch (error) {
    if (error instanceof OutboundError) return { status: error.status, failure: error.reason }
    const { stream_id, jti } = event
    deps.log.warn({ err: error, stream_id, jti }, 'an event could not be sent')
    return { failure: 'invalid_request' }
  }
}

/** @throws when no key encryption key opens the header that the receiver wants to see */
function ownHeaders({ config }: Deps, { stream_id, authorization_header }: Push) {
  const headers = { 'content-type': 'application/secevent+jwt', accept: 'application/json' }
  if (authorization_header === null) return headers
  const opened = openHeader(config.keyEncryptionKeys ?? [], stream_id, authorization_header)
  if (opened === undefined) {
    throw new Error(
      'KEY_ENCRYPTION_KEY does not hold the key of a stream: its receiver has to set its header again',
    )
  }
  return { ...headers, authorization: opened.header }
}

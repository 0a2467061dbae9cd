import type { EventAnswer } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { type Answer, answerToKeep, answerToLog, judgeAnswer } from '../events/answer.ts'
import { nextAttemptAt, readRetryAfter } from '../events/back-off.ts'
import { OutboundError } from '../http/outbound-error.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import { endEvents, type Push, putOff } from './event-queries.ts'
import { openHeader } from './sealed-header.ts'
import { signSets } from './sign-set.ts'
import { noteActivity, noteFailure } from './stream-queries.ts'

/** Seconds from the first attempt, after which an event is given up (EV-11). */
const GIVE_UP_AFTER = 72 * 3600
/** Bytes of an answer that are read. */
const LONGEST_ANSWER = 16 * 1024

/**
 * One attempt (RFC 8935), and what follows from its answer. Each attempt has the same `jti` and `iat`, also
 * after a crash, when nobody knows whether the one before arrived. Returns whether there was an answer.
 */
export async function pushEvent(deps: Deps, event: Push): Promise<boolean> {
  const { jti, stream_id } = event
  const answer = await send(deps, event)
  const now = deps.now()
  const since = event.first_attempt_at ?? now
  const kept: EventAnswer = answerToKeep(answer, 'set')
  const next = nextAttempt(answer, event, { since, now })
  const of = { stream_id, jtis: [jti] }
  if (next === 'delivered') {
    await endEvents(deps.db, of, { status: 'delivered', at: now, answer: kept })
    await noteActivity(deps.db, stream_id, now)
    return true
  }
  await noteFailure(deps.db, stream_id, now)
  if (next !== undefined) await putOff(deps.db, event, { ...next, answer: kept })
  else {
    await endEvents(deps.db, of, { status: 'failed', at: now, answer: kept })
    const line = { stream_id, jti, ...answerToLog(kept) }
    deps.log.warn(line, 'an event could not be delivered to a receiver')
  }
  return answer.failure === undefined
}

/** When it is tried again, and what was tried against a refusal by then; undefined: not at all. */
function nextAttempt(
  answer: Answer,
  { attempts, remedies }: Pick<Push, 'attempts' | 'remedies'>,
  { since, now }: { since: Date; now: Date },
): ({ until: Date } & Pick<Push, 'remedies'>) | 'delivered' | undefined {
  const verdict = judgeAnswer(answer, { dialect: 'set', unknown: false, remedies, since }, now)
  if (verdict.is === 'delivered') return 'delivered'
  if (verdict.is === 'failed') return undefined
  const asked = readRetryAfter(answer.retryAfter, now)
  const until = nextAttemptAt({
    attempts,
    chance: Math.random(),
    atLeast: Math.max(verdict.atLeast, verdict.after ?? 0, asked),
    now,
    until: verdict.until ?? addSeconds(since, GIVE_UP_AFTER),
  })
  return until && { until, remedies: verdict.remedy ? [...remedies, verdict.remedy] : remedies }
}

/** Never throws: what goes wrong on our side is no answer, and tried again. */
async function send(deps: Deps, event: Push): Promise<Answer> {
  try {
    const headers = ownHeaders(deps, event)
    const [body = ''] = await signSets(deps, event.aud, [event])
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
  if (opened) return { ...headers, authorization: opened.header }
  throw new Error(
    'KEY_ENCRYPTION_KEY does not hold the key of a stream: its receiver has to set its header again',
  )
}

/**
 * What an answer to an event means, and what is done about it: the table of protocol reference §6.3.
 *
 * | Answer | What is done |
 * |---|---|
 * | 2xx, whole | delivered; other than 202 with a warning, unless the dialect is the older one |
 * | 400 `invalid_request` | once more with a new `jti` if this one may have been taken before; else for good |
 * | 400 `invalid_key` | again and again for a day, at a pace at which key sets are read again |
 * | 400 `authentication_failed` | once more at that pace |
 * | 400 `invalid_audience` | once more after the audience's metadata were read again |
 * | 404, 410 | the same, and then like those that may help |
 * | other 400; 401, 403; other 4xx | for good; an alert where the audience does not trust us or is no such service |
 * | 408, 425, 429, 5xx, 3xx, no answer, one that cannot be read | again, with the same `jti` |
 */
import type { EventAnswer, EventDialect } from '../db/tables.ts'
import { parseJsonObject } from '../http/json-object.ts'
import type { OutboundReason } from '../http/outbound-error.ts'
import { addSeconds } from '../oauth/numeric-date.ts'

export type Remedy = 'new_jti' | 'cache_window' | 'metadata'

/** What came back: a status, a body that could be read, or why one of them is missing. */
export type Answer = {
  status?: number | undefined
  retryAfter?: string | undefined
  body?: Uint8Array
  failure?: OutboundReason
}

/** Of an event what decides what an answer means for it. */
export type Sent = {
  dialect: EventDialect
  /** This `jti` was sent before, and nobody knows what came of it. */
  unknown: boolean
  /** What was tried against a refusal; each helps once. */
  remedies: readonly Remedy[]
  /** When it was queued, or sent again by hand. */
  since: Date
}

export type Verdict =
  | { is: 'delivered'; warn: boolean }
  | { is: 'failed'; alert: boolean }
  | {
      is: 'again'
      remedy?: Remedy
      /** Seconds. Undefined: by the back-off. */
      after?: number
      /** Seconds that it waits whatever the back-off says. */
      atLeast: number
      /** Tried until then, if not for as long as usual. */
      until?: Date
      /** The audience may have taken it all the same. */
      unknown: boolean
    }

/** Seconds in which a relying app may read our key set again. */
export const CACHE_WINDOW = 600

/** Seconds that it is tried while the audience does not know the key. */
export const KEY_PATIENCE = 24 * 3600

/** Seconds until a remedy is tried: no trouble is left to back off from. */
const SOON = 5

/** Seconds in which the metadata have been read again; whoever has read them does not wait for the rest. */
const METADATA_WINDOW = 60

export function judgeAnswer(answer: Answer, sent: Sent, now: Date): Verdict {
  const { status = 0, failure } = answer
  if (status >= 200 && status < 300 && !BROKEN_OFF.includes(failure ?? 'bad_status')) {
    return { is: 'delivered', warn: sent.dialect === 'set' && status !== 202 }
  }
  if (status === 400 || status === 401 || status === 403) return judgeRefusal(answer, sent, now)
  if (status === 404 || status === 410) return tryOnce('metadata', METADATA_WINDOW, sent) ?? again()
  // These say that it was not looked at; others of the 5xx may have come after it was.
  if ([408, 425, 429, 503].includes(status)) return again()
  if (status >= 300 && status < 400) return again()
  if (status >= 400 && status < 500) return { is: 'failed', alert: true }
  return again({ unknown: !NEVER_SENT.includes(failure ?? 'bad_status') })
}

/** Half an answer is none, whatever it begins with. */
const BROKEN_OFF: readonly OutboundReason[] = ['timeout', 'bad_response']

/** The connection was not made, or not even tried. */
const NEVER_SENT: readonly OutboundReason[] = [
  'invalid_url',
  'invalid_request',
  'userinfo_not_allowed',
  'scheme_not_allowed',
  'port_not_allowed',
  'resolution_failed',
  'address_not_allowed',
  'connect_failed',
]

function judgeRefusal(answer: Answer, sent: Sent, now: Date): Verdict {
  const { status, body } = answer
  const { err } = readRefusal(body, sent.dialect)
  switch (err) {
    case 'invalid_request':
      return (sent.unknown ? tryOnce('new_jti', SOON, sent) : undefined) ?? FAILED
    case 'invalid_key': {
      const until = addSeconds(sent.since, KEY_PATIENCE)
      return now < until ? again({ atLeast: CACHE_WINDOW, until }) : FAILED
    }
    case 'authentication_failed':
      return tryOnce('cache_window', CACHE_WINDOW, sent) ?? FAILED
    case 'invalid_audience':
      return tryOnce('metadata', METADATA_WINDOW, sent) ?? FAILED
    case 'invalid_issuer':
      return { is: 'failed', alert: true }
    case 'access_denied':
      return FAILED
  }
  if (status !== 400) return { is: 'failed', alert: true }
  // Its reason did not arrive: the next time it may.
  return body === undefined ? again() : FAILED
}

const FAILED: Verdict = { is: 'failed', alert: false }

const again = (how: { atLeast?: number; until?: Date; unknown?: boolean } = {}): Verdict => ({
  is: 'again',
  atLeast: 0,
  unknown: false,
  ...how,
})

const tryOnce = (remedy: Remedy, after: number, { remedies }: Sent): Verdict | undefined =>
  remedies.includes(remedy) ? undefined : { is: 'again', remedy, after, atLeast: 0, unknown: false }

/** Characters. */
const LONGEST_CODE = 64
const LONGEST_DESCRIPTION = 400

/** The error of RFC 8935 §2.3 if the body holds one, whatever its headers say: of strangers, and shortened. */
export function readRefusal(
  body: Uint8Array | undefined,
  dialect: EventDialect,
): Pick<EventAnswer, 'err' | 'description'> {
  const json = (body && parseJsonObject(body)) ?? {}
  // Services of the older dialect know the error of OAuth.
  const older = dialect === 'logout' ? json : {}
  const err = shorten(json.err ?? older.error, LONGEST_CODE)
  const description = shorten(json.description ?? older.error_description, LONGEST_DESCRIPTION)
  return { ...(err && { err }), ...(description && { description }) }
}

/** What is kept and shown of an answer. */
export function answerToKeep(
  { status, body, failure }: Answer,
  dialect: EventDialect,
): EventAnswer {
  return {
    ...(status !== undefined && { status }),
    ...(status !== undefined && status >= 400 && readRefusal(body, dialect)),
    ...(failure && { failure }),
  }
}

/** The audience's error where it may be told to everybody: in a word of strangers there may be anything. */
export const plainError = (err: string | undefined): string | undefined =>
  err !== undefined && /^[a-z_]{1,40}$/.test(err) ? err : undefined

/** Without the description: strangers wrote it. Under `err` a log keeps errors of ours. */
export const answerToLog = ({ status, err, failure }: EventAnswer = {}) => ({
  ...(status !== undefined && { answer: status }),
  ...(plainError(err) && { refusal: err }),
  ...(failure !== undefined && { failure }),
})

/** One line without what it may have repeated of the token. */
function shorten(value: unknown, longest: number): string | undefined {
  if (typeof value !== 'string') return undefined
  const line = value
    .slice(0, 4 * longest)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replace(/[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, '…')
    .trim()
  return line.slice(0, longest).toWellFormed() || undefined
}

import type { Deps } from '../deps.ts'
import { within } from '../http/within.ts'
import { OAuthError } from '../oauth/errors.ts'

/** Milliseconds. Who waits holds a connection, and rows that whoever ends access needs. */
const PATIENCE = 1_000
/** Milliseconds after no answer in which the keys are not asked again; then one request asks for all. */
const PAUSE = 5_000

type Keys = Deps['keys']

/** Until when the keys of a server are taken to be silent. */
const silence = new WeakMap<Keys, number>()

/**
 * What is signed within a transaction. A custody may hang for ten seconds at a time: it is not to take the other
 * requests along, the kill switch among them.
 * @throws {OAuthError} `temporarily_unavailable` when there is no answer in time, or was none a moment ago
 */
export async function awaitSignature<Value>(
  keys: Keys,
  sign: () => Promise<Value>,
): Promise<Value> {
  const until = silence.get(keys)
  const now = performance.now()
  if (until !== undefined) {
    if (now < until) throw noAnswer()
    silence.set(keys, now + PAUSE)
  }
  // This one is an error in the log; those that are not even asked for until then are not.
  const late = noAnswer(new Error('what was to be signed was not, in time'))
  try {
    const value = await within(PATIENCE, sign(), () => late)
    silence.delete(keys)
    return value
  } catch (error) {
    if (error === late) silence.set(keys, performance.now() + PAUSE)
    // It said something.
    else silence.delete(keys)
    throw error
  }
}

const noAnswer = (cause?: Error) =>
  new OAuthError('temporarily_unavailable', 'The signing keys do not answer; ask again', {
    retryAfter: PAUSE / 1_000,
    cause,
  })

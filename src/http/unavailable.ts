/**
 * SQLSTATE classes and codes that pass by themselves: connection lost, too many, a lock held too long, a
 * transaction that was silent for too long.
 */
const PASSING = /^(08|53|57P0|55P03$|25P03$|40001$|40P01$)/
const ELSEWHERE = new Set([
  'ECUSTODY',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
])
/** The driver gives these no code. The last one is what a transaction learns whose connection was cut. */
const WORDS =
  /^(timeout exceeded when trying to connect|Query read timeout|Connection terminated|Client has encountered a connection error)/

/** Seconds after which a caller may try again. */
export const RETRY_AFTER = 1

/** True when the database could not answer now and may in a moment: 503, not 500. */
export function isPassing(error: unknown): boolean {
  const { code, message = '' } = error as { code?: unknown; message?: string }
  if (typeof code === 'string' && (PASSING.test(code) || ELSEWHERE.has(code))) return true
  return WORDS.test(message)
}

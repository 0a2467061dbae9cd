import { addSeconds, secondsBetween } from '../oauth/numeric-date.ts'

/** Seconds: the first wait, and the longest between two attempts (EV-11). */
const FIRST = 5
const LONGEST = 3600

/** Seconds. An audience may ask for more patience than we have by ourselves, but not for days. */
const LONGEST_ASKED = 4 * 3600

/**
 * Seconds to wait after so many attempts: 5 · 2ⁿ up to an hour, of which chance takes up to a half away, so
 * that what failed together does not come back together.
 * @param attempts made so far, 1 or more
 * @param chance from 0 to below 1
 */
export const backOff = (attempts: number, chance: number): number =>
  Math.min(LONGEST, FIRST * 2 ** Math.min(attempts - 1, 30)) * (1 - chance / 2)

/**
 * Seconds that `Retry-After` asks for (RFC 9110 §10.2.3), a date or a number, within bounds; 0 where it says
 * nothing that can be read.
 */
export function readRetryAfter(header: string | undefined, now: Date): number {
  const text = header?.trim() ?? ''
  const asked = /^\d{1,15}$/.test(text) ? Number(text) : secondsUntil(text, now)
  return Math.min(Math.max(asked, 0), LONGEST_ASKED)
}

/** Of the three forms that are allowed the one that is written today. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

function secondsUntil(text: string, now: Date): number {
  const at = HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? 0 : secondsBetween(now, new Date(at))
}

type Wait = {
  attempts: number
  chance: number
  /** Seconds that it waits whatever the back-off says. */
  atLeast: number
  now: Date
  /** It is tried once more then, and not after that. */
  until: Date
}

/** When it is tried again; undefined: it is given up. */
export function nextAttemptAt({ attempts, chance, atLeast, now, until }: Wait): Date | undefined {
  if (now >= until) return undefined
  // What many were told alike is spread a little, and never earlier than told.
  const asked = atLeast * (1 + chance / 20)
  const next = addSeconds(now, Math.max(backOff(attempts, chance), asked))
  return next < until ? next : until
}

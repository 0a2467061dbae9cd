/** Seconds that two clocks may differ (IJ-52). */
export const SKEW = 60

/** Seconds from `iat` to `exp`. What lives longer has to be remembered longer, and helps a thief. */
export const LONGEST_LIFE = 300

/** A NumericDate that no parser rounds. */
export const isDate = (value: unknown): value is number =>
  typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER

export const isOver = (exp: number, now: number): boolean => exp + SKEW <= now

export const isAhead = (instant: number, now: number): boolean => instant > now + SKEW

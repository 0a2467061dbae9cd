/** Seconds that two clocks may differ (IJ-52). */
export const SKEW = 60

/** A NumericDate that no parser rounds. */
export const isDate = (value: unknown): value is number =>
  typeof value === 'number' && Math.abs(value) <= Number.MAX_SAFE_INTEGER

export const isOver = (exp: number, now: number): boolean => exp + SKEW <= now

export const isAhead = (instant: number, now: number): boolean => instant > now + SKEW

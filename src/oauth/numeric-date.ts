/** NumericDate (RFC 7519 §2): whole seconds since the epoch. */
export const numericDate = (instant: Date): number => Math.floor(instant.getTime() / 1000)

export const fromNumericDate = (seconds: number): Date => new Date(seconds * 1000)

export const addSeconds = (instant: Date, seconds: number): Date =>
  new Date(instant.getTime() + seconds * 1000)

/** Below 0 when `to` is the earlier: the clocks of replicas may differ. */
export const secondsBetween = (from: Date, to: Date): number =>
  (to.getTime() - from.getTime()) / 1000

import { SKEW } from './times.ts'

/**
 * Values kept for a time, in one process. What is over may be found until it is swept: at most once a minute,
 * by the first look in it. Instants are NumericDates.
 */
export function createMemory<Value>() {
  const kept = new Map<string, { value: Value; until: number }>()
  let sweptAt = Number.NEGATIVE_INFINITY
  const sweep = (now: number) => {
    if (now < sweptAt + SKEW) return
    sweptAt = now
    for (const [id, { until }] of kept) if (until <= now) kept.delete(id)
  }
  return {
    get(id: string, now: number): Value | undefined {
      sweep(now)
      return kept.get(id)?.value
    },
    set(id: string, value: Value, until: number): void {
      kept.set(id, { value, until })
    },
  }
}

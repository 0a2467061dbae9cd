/**
 * Says which of many like events are written. What fails before its caller is known costs the caller
 * nothing, so a flood of it must not fill the disk: so many a minute are written, and metrics count all.
 * Each process has its own allowance.
 */
export function createSampler({
  perMinute,
  now,
}: {
  perMinute: number
  now: () => Date
}): () => boolean {
  let allowance = perMinute
  let counted = now().getTime()
  return () => {
    const at = now().getTime()
    const earned = (Math.max(0, at - counted) * perMinute) / 60_000
    allowance = Math.min(perMinute, allowance + earned)
    counted = at
    if (allowance < 1) return false
    allowance -= 1
    return true
  }
}

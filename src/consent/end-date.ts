import { addSeconds } from '../oauth/numeric-date.ts'

const DAY = 24 * 3600

/** Days that an agent may go on without its user when the user names no end. */
export const OFFLINE_DAYS = 30

/** Years that an end may be away. */
export const MOST_YEARS = 10

export const offlineEnd = (now: Date): Date => addSeconds(now, OFFLINE_DAYS * DAY)

export function latestEnd(now: Date): Date {
  const end = new Date(now)
  end.setUTCFullYear(end.getUTCFullYear() + MOST_YEARS)
  return end
}

export type EndFault = 'end_malformed' | 'end_past' | 'end_too_far'

/**
 * The end that a form names: a day, which is allowed to its last second; a local time; an instant (RFC 3339).
 * What names no zone is UTC.
 */
export function readEnd(text: string, now: Date): Date | EndFault {
  const [, day, time, zone = 'Z'] = FORM.exec(text) ?? []
  if (day === undefined || !isDay(day)) return 'end_malformed'
  const end = new Date(`${day}T${time ?? '23:59:59'}${zone.toUpperCase()}`)
  if (Number.isNaN(end.getTime())) return 'end_malformed'
  if (end <= now) return 'end_past'
  return end > latestEnd(now) ? 'end_too_far' : end
}

const FORM =
  /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:\d{2})?)?$/i

/** `Date` takes the 30th of February for a day in March. */
function isDay(day: string): boolean {
  const at = new Date(`${day}T00:00:00Z`)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(day)
}

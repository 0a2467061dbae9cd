export type ListedKey = {
  kid: string
  alg: string
  purpose: string
  status: string
  published_at: string
  custody: string | null
  proven: boolean
  next_step: string | null
  next_step_at: string | null
}

/** Keys as a person reads them, those that sign first. */
export function keyTable(keys: readonly ListedKey[], now: Date): string {
  const rank = ({ purpose, alg, status, published_at }: ListedKey) =>
    [purpose, alg, ORDER.indexOf(status), published_at].join(' ')
  const rows = keys
    .toSorted((one, other) => (rank(one) < rank(other) ? -1 : 1))
    .map((key) => [
      key.purpose,
      key.alg,
      key.proven ? key.status : `${key.status} (not ours)`,
      since(new Date(key.published_at), now),
      key.custody ?? 'destroyed',
      key.next_step && key.next_step_at
        ? `${key.next_step} ${until(new Date(key.next_step_at), now)}`
        : '',
      key.kid,
    ])
  const table = [HEADER, ...rows]
  const widths = HEADER.map((_, column) =>
    Math.max(...table.map((row) => row[column]?.length ?? 0)),
  )
  return table
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const HEADER = ['PURPOSE', 'ALG', 'STATUS', 'PUBLISHED', 'PRIVATE KEY', 'NEXT STEP', 'KID']
const ORDER = ['active', 'next', 'retired', 'removed', 'compromised']

const since = (at: Date, now: Date): string =>
  at > now ? until(at, now) : `${span(now.getTime() - at.getTime())} ago`
const until = (at: Date, now: Date): string =>
  at > now ? `in ${span(at.getTime() - now.getTime())}` : 'now'

function span(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 2 * 3600) return `${Math.round(seconds / 60)} min`
  if (seconds < 2 * 86_400) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

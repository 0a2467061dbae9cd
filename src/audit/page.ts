import { invalid } from '../http/problem.ts'

/** Pages of the log, newest first. A cursor is the id of the last row shown: ids sort by time. */
export function readLogCursor(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined
  const id = Buffer.from(cursor, 'base64url').toString('utf8')
  if (!/^[\w-]{1,64}$/.test(id))
    throw invalid('/cursor', 'is not a cursor that a list of ours gave')
  return id
}

/** `rows` were read with `limit + 1`. */
export function logPage<Row>(rows: Row[], limit: number, idOf: (row: Row) => string | number) {
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  const more = rows.length > limit && last !== undefined
  return { data, next_cursor: more ? Buffer.from(String(idOf(last))).toString('base64url') : null }
}

import Type, { type TSchema } from 'typebox'
import { invalid } from './problem.ts'

/** `limit` and `cursor` of every list. */
export const ListQuery = Type.Object({
  limit: Type.Integer({ minimum: 1, maximum: 200, default: 50, description: 'Rows at the most' }),
  cursor: Type.Optional(
    Type.String({ maxLength: 200, description: 'next_cursor of the page before' }),
  ),
})

export const ListOf = <Item extends TSchema>(item: Item) =>
  Type.Object({
    data: Type.Array(item),
    next_cursor: Type.Union([Type.String(), Type.Null()], {
      description: 'Send it as cursor for the next page; null on the last',
    }),
  })

/** Where the page before ended: newest first, by creation and then by id. */
export type ListPosition = { created_at: Date; id: string }
export type ListRequest = { limit: number; after?: ListPosition | undefined }

/** @throws {ProblemError} `validation_failed` when the cursor is not one of ours. */
export function readList(query: { limit: number; cursor?: string }): ListRequest {
  if (query.cursor === undefined) return { limit: query.limit }
  const [time, id] = Buffer.from(query.cursor, 'base64url').toString('utf8').split(' ')
  const at = new Date(Number(time))
  if (!/^\d{1,15}$/.test(time ?? '') || !id || id.includes('\0')) {
    throw invalid('/cursor', 'is not a cursor that a list of ours gave')
  }
  return { limit: query.limit, after: { created_at: at, id } }
}

/** The page of rows and the cursor of the next: `rows` were read with `limit + 1`. */
export function listPage<Item extends ListPosition>(rows: Item[], limit: number) {
  const data = rows.slice(0, limit)
  const last = data.at(-1)
  const more = rows.length > limit && last !== undefined
  return { data, next_cursor: more ? writeCursor(last) : null }
}

const writeCursor = ({ created_at, id }: ListPosition) =>
  Buffer.from(`${created_at.getTime()} ${id}`, 'utf8').toString('base64url')

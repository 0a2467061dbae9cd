import { type SelectQueryBuilder, sql } from 'kysely'

type Page = { limit: number; after?: { created_at: Date; id: string } | undefined }

/**
 * For `$call`: the rows after a position, newest first, one more than the limit, so that the reader sees
 * whether there is a next page. The query's one table has `created_at` and `id`.
 */
export const newestFirst =
  ({ limit, after }: Page) =>
  <DB, Table extends keyof DB, Columns>(query: SelectQueryBuilder<DB, Table, Columns>) =>
    (after === undefined
      ? query
      : query.where(sql<boolean>`(created_at, id) < (${after.created_at}, ${after.id})`)
    )
      .orderBy(sql`created_at desc`)
      .orderBy(sql`id desc`)
      .limit(limit + 1)

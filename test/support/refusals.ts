import assert from 'node:assert/strict'
import { sql } from 'kysely'
import { listTables, TRACES } from './changes.ts'
import type { Answer, House } from './house.ts'

/** All that a request may change, but for what every refused one may leave: its traces, and a question to the user. */
async function listState(house: House): Promise<string[]> {
  const tables = await listTables(house)
  return tables.filter((table) => !TRACES.includes(table) && table !== 'interactions')
}

/** Equal for equal contents of those tables. */
export async function stateOf(house: House): Promise<Record<string, string>> {
  const digests = (await listState(house)).map(
    (table) => sql`
      select ${sql.lit(table)} as name, md5(coalesce(string_agg(r::text, E'\n' order by r::text), '')) as digest
      from ${sql.table(table)} r`,
  )
  const { rows } = await sql<{ name: string; digest: string }>`${sql.join(
    digests,
    sql` union all `,
  )}`.execute(house.deps.db)
  return Object.fromEntries(rows.map(({ name, digest }) => [name, digest]))
}

/** That an answer of the token endpoint is an error as RFC 6749 §5.2 wants it (TX-40). */
export function assertOAuthError(answer: Answer, status: number, error: string): void {
  assert.equal(`${answer.status} ${answer.body?.error}`, `${status} ${error}`, answer.text)
  assert.match(answer.body.error_description, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  assert.match(String(answer.headers['content-type']), /^application\/json/)
  assert.equal(answer.headers['cache-control'], 'no-store')
  assert.equal(answer.headers.pragma, 'no-cache')
  assert.equal(answer.body.access_token, undefined)
}

/** The refusals of the token endpoint that were written down since. */
export async function refusalsSince(house: House, from: Date) {
  const query = new URLSearchParams({ from: from.toISOString(), limit: '200' })
  const { status, text, body } = await house.admin('GET', `/audit-events?${query}`)
  assert.equal(status, 200, text)
  return (body.data as { type: string; error: string; reason: string }[]).filter(({ type }) =>
    type.endsWith('.refused'),
  )
}

/**
 * That the request is refused so, that the audit log has the true reason once, and that nothing else
 * changed. `reason` is null for what is refused by its shape alone, which is not written down.
 */
export async function assertRefusal(
  house: House,
  request: () => Promise<Answer>,
  [status, error, reason]: readonly [number, string, string | null],
): Promise<Answer> {
  house.wait(0.001)
  const from = house.clock.now
  const before = await stateOf(house)
  const answer = await request()
  assertOAuthError(answer, status, error)
  const written = (await refusalsSince(house, from)).map((event) => [event.error, event.reason])
  assert.deepEqual(written, reason === null ? [] : [[error, reason]])
  assert.deepEqual(await stateOf(house), before)
  return answer
}

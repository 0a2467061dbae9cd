import assert from 'node:assert/strict'
import { sql } from 'kysely'
import type { Answer, House } from './house.ts'
import { refusalsSince } from './refusals.ts'

/** What the two of them say alike. */
export type Verdict = {
  granted: boolean
  scope?: string
  resource?: string | string[]
  authorization_details?: object[]
  error?: string
  reason?: string
  max_age?: number
  acr_values?: string
}

/** What an administrator is told, and that it changed nothing at all. */
export async function explained(house: House, body: object): Promise<Answer> {
  // So that whatever the endpoint is asked next is told apart from what was before.
  house.wait(0.001)
  const before = await everythingIn(house)
  const answer = await house.admin('POST', '/explain', body)
  assert.equal(answer.status, 200, answer.text)
  assert.deepEqual(await everythingIn(house), before, 'an explanation changes nothing')
  assertComplete(answer)
  return answer
}

/** That a refusal names rule and condition, and a grant none. */
function assertComplete({ body, text }: Answer): void {
  if (body.granted) {
    assert.deepEqual(body.missing, [], text)
    for (const name of ['error', 'error_description', 'reason']) assert.ok(!(name in body), text)
    return
  }
  assert.ok(body.error && body.error_description && body.reason, text)
  assert.ok(body.missing.length > 0, text)
  for (const { rule, detail } of body.missing) {
    assert.match(rule, /^[A-Z]{2}-\d\d$/, text)
    assert.ok(detail.length > 20 && !/undefined|null|NaN/.test(detail), text)
  }
}

/** What the endpoint says after an explanation and, of a refusal, what it wrote into the audit log. */
export async function answered(house: House, exchange: () => Promise<Answer>): Promise<Verdict> {
  const from = house.clock.now
  const answer = await exchange()
  if (answer.status === 200) return verdictOf({ granted: true, ...answer.body })
  const written = await refusalsSince(house, from)
  return verdictOf({ granted: false, ...answer.body, reason: written[0]?.reason })
}

export function verdictOf(told: Verdict & Record<string, unknown>): Verdict {
  const { granted, scope, resource, authorization_details } = told
  const { error, reason, max_age, acr_values } = told
  const all = granted
    ? { granted, scope, resource, authorization_details }
    : { granted, error, reason, max_age, acr_values }
  return JSON.parse(JSON.stringify(all)) as Verdict
}

/** Of every table how many rows it has and which transactions wrote them: equal where none was written. */
async function everythingIn({ deps: { db } }: House): Promise<Record<string, string>> {
  tables ??= (
    await sql<{ name: string }>`
      select tablename as name from pg_tables where schemaname = 'public'`.execute(db)
  ).rows.map(({ name }) => name)
  assert.ok(tables.length > 20)
  const states = tables.map(
    (name) => sql`
      select ${sql.lit(name)} as name, concat_ws(' ', count(*), sum(xmin::text::bigint)) as state
      from ${sql.table(name)}`,
  )
  const union = sql`${sql.join(states, sql` union all `)}`
  const { rows } = await sql<{ name: string; state: string }>`${union}`.execute(db)
  return Object.fromEntries(rows.map(({ name, state }) => [name, state]))
}

let tables: string[] | undefined

import assert from 'node:assert/strict'
import { KEY_SLOTS } from '../../src/keys/schedule.ts'
import type { openRings } from './rings.ts'

export type Rings = Awaited<ReturnType<typeof openRings>>
export type Ring = Awaited<ReturnType<Rings['open']>>

export const listRows = ({ db }: Pick<Rings, 'db'>) =>
  db.selectFrom('signing_keys').selectAll().orderBy('created_at').orderBy('kid').execute()

export async function findRow(house: Pick<Rings, 'db'>, kid: string) {
  return house.db
    .selectFrom('signing_keys')
    .selectAll()
    .where('kid', '=', kid)
    .executeTakeFirstOrThrow()
}

export async function kidOf(
  { db }: Pick<Rings, 'db'>,
  of: { purpose: 'id_token' | 'id_jag' | 'seal'; alg: string; status: 'active' | 'next' },
): Promise<string> {
  const { kid } = await db
    .selectFrom('signing_keys')
    .select('kid')
    .where((eb) => eb.and(of))
    .executeTakeFirstOrThrow()
  return kid
}

/** Rule 1 of schedule.ts, asked of the database. */
export async function assertOneOfEach(house: Pick<Rings, 'db'>): Promise<void> {
  const rows = await listRows(house)
  for (const { purpose, alg } of KEY_SLOTS) {
    for (const status of ['active', 'next'] as const) {
      const found = rows.filter(
        (row) => row.purpose === purpose && row.alg === alg && row.status === status,
      )
      assert.equal(found.length, 1, `${found.length} ${status} keys of ${purpose} ${alg}`)
    }
  }
}

export const kidsIn = ({ body }: { body: string }): string[] =>
  JSON.parse(body).keys.map(({ kid }: { kid: string }) => kid)

export async function listEvents({ db }: Pick<Rings, 'db'>, type: string) {
  const rows = await db
    .selectFrom('audit_events')
    .select('detail')
    .where('type', '=', type)
    .execute()
  return rows.map(({ detail }) => detail as Record<string, unknown>)
}

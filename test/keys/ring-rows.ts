import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
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

/** Rule 1 of schedule.ts, asked of the database. Who dropped a key has not waited long for the making of another. */
export async function assertOneOfEach(house: Pick<Rings, 'db'>): Promise<void> {
  const patience = AbortSignal.timeout(60_000)
  for (;;) {
    const rows = await listRows(house)
    const found = KEY_SLOTS.flatMap(({ purpose, alg }) =>
      (['active', 'next'] as const).map((status) => {
        const of = { purpose, alg, status }
        const count = rows.filter((row) => isDeepStrictEqual(of, pick(row))).length
        return { ...of, count }
      }),
    )
    const strange = found.filter(({ count }) => count !== 1)
    if (strange.length === 0) return
    const mayCome = strange.every(({ count }) => count === 0) && !patience.aborted
    assert.ok(mayCome, JSON.stringify(strange))
    await pause(20)
  }
}

const pick = ({ purpose, alg, status }: Awaited<ReturnType<typeof listRows>>[number]) => ({
  purpose,
  alg,
  status,
})

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

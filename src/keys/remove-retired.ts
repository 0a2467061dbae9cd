import { recordEvent } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { removeKeys } from './queries.ts'
import { isRemovable, type KeyLife } from './schedule.ts'

/** Drops the retired keys that nobody needs any more, private part and all. True if there were any. */
export async function removeRetired(
  { db, config, now }: Pick<Deps, 'db' | 'config' | 'now'>,
  keys: readonly KeyLife[],
): Promise<boolean> {
  const at = now()
  const over = keys.filter((key) => isRemovable(key, at, config)).map(({ kid }) => kid)
  if (over.length === 0) return false
  await db.transaction().execute(async (tx) => {
    for (const detail of await removeKeys(tx, over, at)) {
      await recordEvent(tx, { type: 'key.removed', at, actor: { kind: 'system' }, detail })
    }
  })
  return true
}

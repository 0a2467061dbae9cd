import type { Deps } from '../deps.ts'
import { openHeader, sealHeader } from './sealed-header.ts'
import { listSealedHeaders, replaceSealedHeader } from './stream-queries.ts'

/** Brings what an earlier key encryption key protects under the newest, so that the earlier one can go. Returns how many. */
export async function resealHeaders({ db, config }: Pick<Deps, 'db' | 'config'>): Promise<number> {
  const keks = config.keyEncryptionKeys ?? []
  if (keks.length < 2) return 0
  let resealed = 0
  for (const { id, authorization_header } of await listSealedHeaders(db)) {
    const from = authorization_header ?? ''
    const opened = openHeader(keks, id, from)
    if (!opened?.stale) continue
    await replaceSealedHeader(db, id, { from, to: sealHeader(keks, id, opened.header) })
    resealed += 1
  }
  return resealed
}

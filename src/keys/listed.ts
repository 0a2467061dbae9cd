import type { Deps } from '../deps.ts'
import { listEventEnds } from '../events/key-queries.ts'
import type { ListRequest } from '../http/list.ts'
import { kekIn, provenBy } from './proof.ts'
import { listKeys, listSigningKeys } from './queries.ts'
import { nextStep } from './schedule.ts'

/** Signing keys as an administrator sees them, newest first: never a private key, nor where exactly it is. */
export async function listedKeys(
  { db, config, custody }: Pick<Deps, 'db' | 'config' | 'custody'>,
  request: ListRequest,
) {
  const keks = config.keyEncryptionKeys ?? []
  const [rows, signing] = [await listKeys(db, request), await listSigningKeys(db)]
  const ends = await listEventEnds(
    db,
    rows.filter(({ status }) => status === 'retired').map(({ kid }) => kid),
  )
  return rows.map(({ private_key, token_lifetime, proof, ...row }) => {
    const next = nextStep({ ...row, token_lifetime }, signing, config, ends.get(row.kid))
    const place = private_key === null ? null : custody.custodyOf(private_key)
    return {
      // What a list goes on from.
      id: row.kid,
      ...row,
      next_step: next?.does ?? null,
      next_step_at: next?.at ?? null,
      custody: place,
      key_encryption_keys: [
        ...new Set(
          [proof, place === 'local' ? private_key : null].flatMap((of) => (of && kekIn(of)) || []),
        ),
      ],
      proven: provenBy(keks, { ...row, proof }) !== undefined,
    }
  })
}

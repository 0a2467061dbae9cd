import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid } from '../http/problem.ts'
import { type Revoked, revoke } from './end.ts'
import { type ProofStatus, statusOf } from './proof-status.ts'
import { findProof } from './queries.ts'
import { REACHES } from './reach.ts'
import type { NewRevocation } from './schema.ts'

/**
 * An administrator's call: stop everything that rests on one record.
 * @throws {ProblemError} `validation_failed` unless exactly one record is named, and exists
 */
export async function requestRevocation(
  tx: Transaction<Tables>,
  deps: Deps,
  body: NewRevocation,
  admin: Admin,
): Promise<Revoked & { status: ProofStatus }> {
  const named = REACHES.flatMap((kind) => {
    const id = body[kind]
    return id === undefined ? [] : [{ kind, id }]
  })
  const [reach] = named
  if (reach === undefined || named.length > 1) {
    throw invalid('', `Give exactly one of ${REACHES.join(', ')}`)
  }
  const revoked = await revoke(tx, deps, { reach, reason: body.reason, admin })
  if (!revoked) throw invalid(`/${reach.kind}`, 'names nothing that exists')
  const status = statusOf(await findProof(tx, revoked.id), revoked.events_withheld ?? 0)
  return { ...revoked, status }
}

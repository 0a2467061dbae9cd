import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { notFound } from '../http/problem.ts'
import { dropEvents } from './event-queries.ts'
import { endReceiverRow, lockReceiver } from './receiver-queries.ts'
import { endStreamOf } from './stream-queries.ts'

/**
 * From this commit on its tokens open nothing and it is told nothing more. Ending an ended one changes nothing.
 * @throws {ProblemError} `not_found`
 */
export async function endReceiver(
  tx: Db,
  deps: Pick<Deps, 'now'>,
  id: string,
  admin: Admin,
): Promise<void> {
  const receiver = await lockReceiver(tx, id)
  if (receiver === undefined) throw notFound('receiver')
  if (receiver.ended_at !== null) return
  const at = deps.now()
  await endReceiverRow(tx, id, at)
  const stream = await endStreamOf(tx, id, at)
  if (stream) await dropEvents(tx, stream.id, at)
  await recordEvent(tx, {
    type: 'ssf_receiver.ended',
    at,
    actor: byAdmin(admin),
    tenant_id: receiver.tenant_id,
    detail: { receiver_id: id, ...(stream && { stream_id: stream.id }) },
  })
}

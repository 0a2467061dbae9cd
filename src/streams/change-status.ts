import { recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { wrongRequest } from '../http/ssf-door.ts'
import type { Caller } from './admit.ts'
import { dropEvents } from './event-queries.ts'
import { holdStream } from './find-stream.ts'
import { queueAboutStreams } from './queue.ts'
import type { StatusChange } from './schema.ts'
import { EVENT } from './set.ts'
import type { Stream } from './stream.ts'
import { updateStream } from './stream-queries.ts'

/** By its receiver. @throws {SsfError} 404; 400 for what would be done to everybody instead */
export async function changeStatus(
  tx: Db,
  deps: Pick<Deps, 'now'>,
  caller: Caller,
  { stream_id, status, reason, subject }: StatusChange,
): Promise<Stream> {
  if (subject !== undefined) {
    throw wrongRequest('A single subject has no status here: remove it from the stream instead')
  }
  const before = await holdStream(tx, caller, stream_id)
  const at = deps.now()
  if (status === 'disabled') await dropEvents(tx, before.id, at)
  const stream = await updateStream(tx, before.id, {
    status,
    status_reason: reason ?? null,
    active_at: at,
    failing_since: null,
    updated_at: at,
  })
  if (before.status !== status) {
    await recordStatus(tx, stream, { status, at, by: caller.id })
  }
  return stream
}

/**
 * By us, of a stream whose receiver is not there: nothing more is kept for it but the word that it is so
 * (SSF §8.1.5). The caller holds the stream.
 */
export async function disableStream(
  tx: Db,
  stream: Pick<Stream, 'id' | 'tenant_id' | 'receiver_id'>,
  { reason, at }: { reason: string; at: Date },
): Promise<void> {
  await dropEvents(tx, stream.id, at)
  await updateStream(tx, stream.id, {
    status: 'disabled',
    status_reason: reason,
    updated_at: at,
  })
  const event = { status: 'disabled', reason }
  await queueAboutStreams(tx, [stream], { event_type: EVENT.streamUpdated, event, at })
  await recordStatus(tx, stream, { status: 'disabled', at, by: undefined })
}

const recordStatus = (
  tx: Db,
  stream: Pick<Stream, 'id' | 'tenant_id' | 'receiver_id'>,
  { status, at, by }: { status: string; at: Date; by: string | undefined },
) =>
  recordEvent(tx, {
    type: `stream.${status}`,
    at,
    actor: { kind: 'system', id: by },
    tenant_id: stream.tenant_id,
    detail: { receiver_id: stream.receiver_id, stream_id: stream.id },
  })

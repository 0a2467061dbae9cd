/**
 * Streams as a backup has them. Since it was made their receivers may have ended them, moved them or taken
 * somebody off them, and only they know.
 *
 * 1. What waited is dropped: it may have been sent, or be about somebody who was taken off.
 * 2. Every stream is paused, a disabled one too, for it may have gone on since. So it keeps what is queued from
 *    now on, and sends nothing but the word that it is paused (SSF §8.1.5) until its receiver enables it.
 */
import type { Transaction } from 'kysely'
import { recordEvents } from '../audit/record.ts'
import type { Tables } from '../db/tables.ts'
import { dropAllEvents } from './event-queries.ts'
import { queueAboutStreams } from './queue.ts'
import { EVENT } from './set.ts'
import type { StreamStatus } from './stream.ts'
import { type LiveStream, listLiveStreams, pauseStreams } from './stream-queries.ts'

/** What a receiver is told. */
const REASON =
  'A backup was restored: streams and subjects are as they were when it was made. Look at them and enable the stream'

const PAUSED = 'paused' satisfies StreamStatus

/** Before anything is queued that is to be kept. Returns the streams as the backup had them. */
export async function pauseRestored(
  tx: Transaction<Tables>,
  at: Date,
): Promise<{ streams: LiveStream[]; dropped: number }> {
  const dropped = await dropAllEvents(tx, at)
  const streams = await listLiveStreams(tx)
  await pauseStreams(tx, { reason: REASON, at })
  await recordEvents(
    tx,
    streams.map(({ tenant_id, receiver_id, stream_id }) => ({
      type: `stream.${PAUSED}`,
      at,
      actor: { kind: 'system' },
      tenant_id,
      detail: { receiver_id, stream_id },
    })),
  )
  return { streams, dropped }
}

/** After it: of a stream that holds too much the oldest events go, and this is the one that has to arrive. */
export const tellPaused = (
  tx: Transaction<Tables>,
  streams: readonly LiveStream[],
  at: Date,
): Promise<void> =>
  queueAboutStreams(
    tx,
    streams.map(({ stream_id, tenant_id }) => ({ id: stream_id, tenant_id })),
    { event_type: EVENT.streamUpdated, event: { status: PAUSED, reason: REASON }, at },
  )

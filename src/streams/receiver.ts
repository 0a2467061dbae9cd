import type { listStreamsOf, ReceiverRow } from './receiver-queries.ts'
import type { Receiver } from './receiver-schema.ts'

type StreamRow = Awaited<ReturnType<typeof listStreamsOf>>[number]

/** A receiver as the admin API shows it, with its stream, if it has one. */
export function describeReceiver(row: ReceiverRow, streams: readonly StreamRow[]): Receiver {
  const stream = streams.find(({ receiver_id }) => receiver_id === row.id)
  return {
    ...row,
    client_id: row.id,
    status: row.ended_at === null ? 'active' : 'ended',
    stream: stream ?? null,
  }
}

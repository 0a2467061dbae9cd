import type { Db } from '../db/tables.ts'
import { SsfError } from '../http/ssf-door.ts'
import type { Caller } from './admit.ts'
import type { Stream } from './stream.ts'
import { findStreamOf, lockStreamOf } from './stream-queries.ts'

/** The caller's stream of this id. @throws {SsfError} 404, for the streams of others too */
export const requireStream = async (db: Db, caller: Caller, id: string): Promise<Stream> =>
  ofThisId(await findStreamOf(db, caller.id), id)

/** The same, held. @throws {SsfError} 404 */
export const holdStream = async (tx: Db, caller: Caller, id: string): Promise<Stream> =>
  ofThisId(await lockStreamOf(tx, caller.id), id)

function ofThisId(stream: Stream | undefined, id: string): Stream {
  if (stream !== undefined && stream.id === id) return stream
  throw new SsfError(404, 'not_found', 'This receiver has no such stream')
}

import type { Deps } from '../deps.ts'
import { wrongRequest } from '../http/ssf-door.ts'
import type { Caller } from './admit.ts'
import { requireStream } from './find-stream.ts'
import type { SubjectOfStream } from './schema.ts'
import { readSubject } from './subject.ts'
import { deleteSubject, findSubject, insertSubject } from './subject-queries.ts'
import { faultOfSubject } from './subject-shape.ts'

/**
 * Adds somebody to a stream, or takes them off it. Somebody who is nobody here, or of another tenant, changes
 * nothing, and the caller is told the same: nobody learns here who there is.
 * @throws {SsfError} 404; 400 for what is no subject identifier
 */
export async function nameSubject(
  { db, config, now }: Pick<Deps, 'db' | 'config' | 'now'>,
  caller: Caller,
  act: 'add' | 'remove',
  { stream_id, subject: given }: SubjectOfStream,
): Promise<void> {
  const stream = await requireStream(db, caller, stream_id)
  const fault = faultOfSubject(given)
  if (fault !== undefined) throw wrongRequest(fault)
  const named = readSubject(config.issuer, { ...given })
  const subject = named && (await findSubject(db, caller.tenant_id, named))
  if (subject === undefined) return
  if (act === 'remove') await deleteSubject(db, stream, subject)
  else await insertSubject(db, stream, subject, now())
}

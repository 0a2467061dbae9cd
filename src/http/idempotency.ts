import { createHmac } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Kysely, Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import { invalid, ProblemError } from './problem.ts'

/** How long a key is remembered, in milliseconds. */
const KEPT = 24 * 3600 * 1000

type Surroundings = {
  db: Kysely<Tables>
  now: () => Date
  config: { keyEncryptionKeys: Buffer[] | undefined }
}

/**
 * Runs a creating call in one transaction with the memory of its `Idempotency-Key`: the same key with the
 * same body gives the first answer again, without what is shown once; with another body it is refused.
 * Without the header it is a plain transaction. A record that may have to be erased is read `again` instead,
 * as it is by then: of its answer the id alone is remembered.
 * @throws {ProblemError} `idempotency_conflict`
 */
export async function createOnce<Answer extends object>(
  deps: Surroundings,
  request: FastifyRequest,
  reply: FastifyReply,
  shownOnce: readonly (keyof Answer & string)[],
  create: (tx: Transaction<Tables>) => Promise<Answer>,
  again?: (tx: Transaction<Tables>, id: string) => Promise<Answer>,
): Promise<Answer> {
  reply.code(201)
  const key = request.headers['idempotency-key']
  if (key === undefined) return deps.db.transaction().execute(create)
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw invalid('', 'Idempotency-Key must be 1 to 255 printable ASCII characters')
  }
  const now = deps.now()
  const id = { admin_key_id: request.admin.id, key }
  const [digest, ...earlier] = bodyDigests(deps, request)
  return deps.db.transaction().execute(async (tx) => {
    await tx
      .deleteFrom('idempotency_keys')
      .where('admin_key_id', '=', id.admin_key_id)
      .where('key', '=', key)
      .where('created_at', '<', new Date(now.getTime() - KEPT))
      .execute()
    // A second call with the key waits here until the first has committed or given up.
    const mine = await tx
      .insertInto('idempotency_keys')
      .values({ ...id, body_digest: digest, created_at: now })
      .onConflict((conflict) => conflict.columns(['admin_key_id', 'key']).doNothing())
      .returning('key')
      .executeTakeFirst()
    if (mine === undefined) {
      const before = await tx
        .selectFrom('idempotency_keys')
        .select(['body_digest', 'answer'])
        .where('admin_key_id', '=', id.admin_key_id)
        .where('key', '=', key)
        .executeTakeFirstOrThrow()
      const isSame = [digest, ...earlier].some((one) => before.body_digest.equals(one))
      if (!isSame) {
        throw new ProblemError(
          'idempotency_conflict',
          'Use a new Idempotency-Key for another request',
        )
      }
      return again ? again(tx, String(before.answer?.id)) : (before.answer as Answer)
    }
    const answer = await create(tx)
    const kept = Object.entries(answer).filter(([name]) =>
      again ? name === 'id' : !shownOnce.includes(name as never),
    )
    await tx
      .updateTable('idempotency_keys')
      .set({ status: 201, answer: JSON.stringify(Object.fromEntries(kept)) })
      .where('admin_key_id', '=', id.admin_key_id)
      .where('key', '=', key)
      .execute()
    return answer
  })
}

/** An answer of before is not given again to a call that comes now. */
export async function forgetIdempotencyKeys(tx: Transaction<Tables>): Promise<void> {
  await tx.deleteFrom('idempotency_keys').execute()
}

/**
 * Keyed, so that a password in a body cannot be guessed from the digest. By the newest key encryption key, and by
 * those before it: the first call may have come before a change.
 */
function bodyDigests(
  { config }: Surroundings,
  { method, url, body }: FastifyRequest,
): [Buffer, ...Buffer[]] {
  const digestBy = (secret: Buffer | string) =>
    createHmac('sha256', secret)
      .update('idempotency\n')
      .update(`${method} ${url}\n`)
      .update(JSON.stringify(body ?? null))
      .digest()
  const [newest = '', ...earlier] = config.keyEncryptionKeys ?? []
  return [digestBy(newest), ...earlier.map(digestBy)]
}

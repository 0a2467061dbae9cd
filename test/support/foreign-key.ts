import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { Insertable } from 'kysely'
import type { Db, Tables } from '../../src/db/tables.ts'
import { publicJwk, thumbprint } from '../../src/keys/public-jwk.ts'

type SigningKey = Insertable<Tables['signing_keys']>

/**
 * A signing key that somebody made who may insert rows but has no key encryption key: right in everything
 * that can be copied, the proof of another row included.
 */
export async function insertForeignKey(
  db: Db,
  of: Pick<SigningKey, 'purpose' | 'status'> & Partial<SigningKey>,
): Promise<{ kid: string; privateKey: KeyObject }> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = publicKey.export({ format: 'jwk' })
  const kid = thumbprint(jwk)
  const copied = await db
    .selectFrom('signing_keys')
    .select(['private_key', 'proof', 'created_at', 'published_at'])
    .where('purpose', '=', of.purpose)
    .where('alg', '=', 'ES256')
    .orderBy('kid')
    .limit(1)
    .executeTakeFirstOrThrow()
  await db
    .insertInto('signing_keys')
    .values({
      ...copied,
      kid,
      alg: 'ES256',
      public_jwk: JSON.stringify(publicJwk(jwk, 'ES256')),
      retired_at: of.status === 'retired' ? copied.created_at : null,
      ...of,
    })
    .execute()
  return { kid, privateKey }
}

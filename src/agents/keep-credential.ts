import { byAdmin, recordEvent } from '../audit/record.ts'
import { newId } from '../db/ids.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Admin } from '../http/admin-door.ts'
import { hashSecret } from '../oauth/secret.ts'
import { type CredentialRow, insertCredential } from './credential-queries.ts'
import type { PublicJwk } from './public-jwk.ts'

type Kept = {
  agent: Pick<Row<'agents'>, 'id' | 'tenant_id'>
  admin: Admin
  now: Date
  slot: 1 | 2
} & ({ key: PublicJwk } | { secret: string })

/** Writes a credential into a free slot of its agent; of a secret, the hash. */
export async function keepCredential(
  tx: Db,
  { agent, admin, now, slot, ...kept }: Kept,
): Promise<CredentialRow> {
  const row = await insertCredential(tx, {
    id: newId('crd'),
    tenant_id: agent.tenant_id,
    agent_id: agent.id,
    slot,
    created_at: now,
    ...('key' in kept
      ? { kind: 'jwk', kid: kept.key.kid, jwk: JSON.stringify(kept.key.jwk) }
      : { kind: 'secret', secret_hash: hashSecret(kept.secret) }),
  })
  await recordEvent(tx, {
    type: 'credential.created',
    at: now,
    actor: byAdmin(admin),
    tenant_id: agent.tenant_id,
    agent_id: agent.id,
    detail: { credential_id: row.id },
  })
  return row
}

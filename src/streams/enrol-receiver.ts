import { byAdmin, recordEvent } from '../audit/record.ts'
import { holdTenant } from '../db/hold-tenant.ts'
import { DEFAULT_TENANT, newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid } from '../http/problem.ts'
import { SSF_SCOPES } from '../oauth/names.ts'
import { hashSecret, newSecret } from '../oauth/secret.ts'
import { isOurs, normaliseUri } from '../oauth/uri.ts'
import { describeReceiver } from './receiver.ts'
import { insertReceiver } from './receiver-queries.ts'
import type { NewReceiver, Receiver } from './receiver-schema.ts'

/**
 * Lets somebody in who may ask what becomes of sessions; the secret is in this answer alone.
 * @throws {ProblemError} `validation_failed`
 */
export async function enrolReceiver(
  tx: Db,
  deps: Pick<Deps, 'config' | 'now'>,
  { name, audience, scopes = [...SSF_SCOPES], tenant_id = DEFAULT_TENANT }: NewReceiver,
  admin: Admin,
): Promise<Receiver> {
  checkAudience(audience, deps.config.issuer)
  if (!(await holdTenant(tx, tenant_id))) throw invalid('/tenant_id', 'names no tenant')
  const client_secret = newSecret()
  const at = deps.now()
  const row = await insertReceiver(tx, {
    id: newId('rcv'),
    tenant_id,
    name,
    audience,
    scopes,
    secret_hash: hashSecret(client_secret),
    created_at: at,
    created_by: admin.id,
  })
  await recordEvent(tx, {
    type: 'ssf_receiver.created',
    at,
    actor: byAdmin(admin),
    tenant_id,
    detail: { receiver_id: row.id, scopes },
  })
  return { ...describeReceiver(row, []), client_secret }
}

/** It is in every event: what is signed for it has to be for nobody else, and holds no password. */
function checkAudience(audience: string, issuer: string): void {
  if (normaliseUri(audience) === undefined) {
    throw invalid('/audience', 'must be an absolute URI without a fragment')
  }
  if (/^[^:/?]*:\/\/[^/?]*@/.test(audience)) throw invalid('/audience', 'must have no userinfo')
  if (isOurs(audience, issuer)) throw invalid('/audience', 'is an address of this server')
}

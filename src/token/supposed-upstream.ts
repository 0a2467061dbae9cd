/** A subject of a trusted issuer that nobody asks with: upstream.ts, on the supposition that its token is good. */
import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { hasEnded } from '../policy/ended.ts'
import type { ExplainRequest } from './explain-schema.ts'
import type { Facts } from './facts.ts'
import { faultOfUser, type Subject } from './subject.ts'

type Asked = Pick<ExplainRequest, 'user_id' | 'acr' | 'subject_client_id'>

export async function supposedUpstream(
  deps: Pick<Deps, 'db' | 'now'>,
  { user_id, acr, subject_client_id }: Asked,
  issuer: string,
  auth_time: Date,
  { user }: Pick<Facts, 'user'>,
  agent: AgentFacts,
): Promise<Subject | { refused: Reason }> {
  const trust = await findTrust(deps.db, { tenant_id: agent.tenant_id, issuer, user_id })
  if (trust === undefined || hasEnded(trust, deps.now())) return { refused: 'issuer_not_trusted' }
  const { clients, provisioning, trust_auth_time } = trust
  const allowed = clients.some(
    ({ client_id, agent_ids }) =>
      agent_ids.includes(agent.id) && (subject_client_id ?? client_id) === client_id,
  )
  if (!allowed) return { refused: 'upstream_client_not_allowed' }
  // Nobody is linked by anything but an external_id, which the token is taken to name.
  const linkable =
    provisioning !== 'refuse' && trust.external_id !== null && !trust.linked_elsewhere
  if (user === undefined || !(trust.linked || linkable)) {
    return { refused: 'unknown_upstream_account' }
  }
  if (user.tenant_id !== agent.tenant_id) return { refused: 'wrong_subject_audience' }
  const fault = faultOfUser(user, true, 'upstream')
  if (fault !== undefined) return { refused: fault }
  return {
    user,
    auth_time: trust_auth_time ? auth_time : null,
    acr: trust_auth_time ? (acr ?? null) : null,
    amr: [],
    live: true,
    session_id: null,
    family_id: null,
    trusted_issuer_id: trust.id,
  }
}

/** What the tenant says of an issuer, and whether this user is known there or could be. */
function findTrust(db: Db, of: { tenant_id: string; issuer: string; user_id: string }) {
  return db
    .selectFrom('trusted_issuers')
    .leftJoin('users', (join) =>
      join
        .on('users.id', '=', of.user_id)
        .onRef('users.tenant_id', '=', 'trusted_issuers.tenant_id'),
    )
    .select([
      'trusted_issuers.id',
      'trusted_issuers.clients',
      'trusted_issuers.provisioning',
      'trusted_issuers.trust_auth_time',
      'trusted_issuers.expires_at',
      'users.external_id',
    ])
    .select(({ exists, selectFrom }) => {
      const accounts = selectFrom('upstream_accounts')
        .select('user_id')
        .whereRef('upstream_accounts.tenant_id', '=', 'trusted_issuers.tenant_id')
        .where('upstream_accounts.user_id', '=', of.user_id)
      return [
        exists(accounts.where('upstream_accounts.issuer', '=', of.issuer)).as('linked'),
        exists(accounts.where('upstream_accounts.issuer', '<>', of.issuer)).as('linked_elsewhere'),
      ]
    })
    .where('trusted_issuers.tenant_id', '=', of.tenant_id)
    .where('trusted_issuers.issuer', '=', of.issuer)
    .where('trusted_issuers.ended_at', 'is', null)
    .executeTakeFirst()
}

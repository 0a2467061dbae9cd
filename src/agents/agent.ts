import type { CredentialRow } from './credential-queries.ts'
import type { AgentWithUse } from './queries.ts'
import type { Agent, Credential } from './schema.ts'

/** An agent as the API shows it. */
export const describeAgent = ({
  client_metadata: _,
  client_metadata_seen_at: __,
  client_metadata_url,
  ...row
}: AgentWithUse): Agent => ({ ...row, client_id: client_metadata_url ?? row.id })

/** A credential as the API shows it: what it is, never what it holds. */
export const describeCredential = ({ slot: _, ...row }: CredentialRow): Credential => ({
  ...row,
  status: row.ended_at === null ? 'active' : 'ended',
})

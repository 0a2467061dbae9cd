/**
 * Many stories at once, for races: rows as the doors would have left them, written in bulk, because a race
 * spends its story and a password would cost more than the race. What the races do goes through the doors.
 */

import { randomUUID } from 'node:crypto'
import type { Insertable, Kysely } from 'kysely'
import { DEFAULT_TENANT, newId } from '../../src/db/ids.ts'
import type { Tables } from '../../src/db/tables.ts'
import { newSecret } from '../../src/oauth/secret.ts'
import { rowsOf, TABLES } from './contestant-rows.ts'
import type { Form } from './house.ts'

export type Contestant = {
  tenant_id: string
  user_id: string
  owner_id: string
  agent_id: string
  /** Of an agent that is known by its metadata document. */
  document: Document | undefined
  credential_id: string
  audience_id: string
  issuer: string
  entitlement_id: string
  /** Undefined where nobody has consented yet. */
  delegation_id: string | undefined
  session_id: string
  cookie: string
  family_id: string
  refresh_token: string
  /** One that the family had before. */
  spent_token: string
  code: string
  /** What its exchanges ask for beside the usual. */
  asks: Form
  /** By which its exchanges name the audience. */
  alias: string | undefined
  /** Who acts for it, in each of its exchanges. */
  actor: Actor | undefined
  /** Another audience where everything is allowed too. */
  elsewhere: Elsewhere | undefined
  /** Who vouches for the user instead of a session here. */
  upstream: Upstream | undefined
}
/** `rule_id`: of the rule that lets the client with this URL come. */
export type Document = { url: string; rule_id: string }
export type Actor = {
  agent_id: string
  document: Document | undefined
  owner_id: string
  credential_id: string
  /** To act with every scope. */
  permission_id: string
  /** To act with `docs.read`. */
  narrow_permission_id: string | undefined
}
export type Elsewhere = {
  audience_id: string
  issuer: string
  entitlement_id: string
  delegation_id: string
}
export type Upstream = { id: string; issuer: string; jwks_uri: string; subject: string }

export type Kind = {
  /** Each in a tenant of its own. */
  ownTenant?: boolean
  /** The user owns the agent, and its actor. */
  ownAgent?: boolean
  consent?: 'user' | 'admin'
  /** No delegation: `null`. */
  delegation?: 'always' | 'once' | null
  /** Columns in which the audience, or the delegation, is unlike the usual. */
  audience?: Partial<Insertable<Tables['audiences']>>
  granted?: Partial<Insertable<Tables['delegations']>>
  /** The user has an account at the audience. */
  account?: boolean
  alias?: boolean
  /** `narrowed`: by two permissions, of which one is for fewer scopes. */
  actor?: boolean | 'narrowed'
  elsewhere?: boolean
  /** The session is over. */
  signedOut?: boolean
  /** Where a trusted issuer publishes its keys. */
  upstream?: string
  /** What becomes of a subject of the trusted issuer, which nobody has linked. */
  provisioning?: 'create'
  /** Where its agents publish their metadata documents, by which they are known. */
  clients?: string
  asks?: Form
}

/** So many stories that have nothing to do with one another, but for the tenant perhaps. */
export async function makeContestants(
  db: Kysely<Tables>,
  count: number,
  kind: Kind = {},
): Promise<Contestant[]> {
  const made = Array.from({ length: count }, () => newContestant(kind))
  const parts = made.map((one) => rowsOf(one, kind, new Date()))
  await db.transaction().execute(async (tx) => {
    for (const table of TABLES) {
      const rows = parts.flatMap((part): object[] => part[table])
      // Rows of one table at a time: `Rows` says that they fit.
      if (rows.length > 0)
        await tx
          .insertInto(table)
          .values(rows as never)
          .execute()
    }
  })
  return made
}

const newContestant = (kind: Kind, user_id = newId('usr')): Contestant => ({
  tenant_id: kind.ownTenant ? newId('ten') : DEFAULT_TENANT,
  user_id,
  owner_id: kind.ownAgent ? user_id : newId('usr'),
  agent_id: newId('agt'),
  document: newDocument(kind),
  credential_id: newId('crd'),
  audience_id: newId('aud'),
  issuer: newIssuer(),
  entitlement_id: newId('ent'),
  delegation_id: kind.delegation === null ? undefined : newId('dlg'),
  session_id: newId('ses'),
  cookie: newSecret(),
  family_id: newId('rtf'),
  refresh_token: newSecret(),
  spent_token: newSecret(),
  code: newSecret(),
  asks: kind.asks ?? {},
  alias: kind.alias ? newIssuer() : undefined,
  actor: kind.actor ? newActor(kind, user_id) : undefined,
  elsewhere: kind.elsewhere ? newElsewhere() : undefined,
  upstream: kind.upstream === undefined ? undefined : newUpstream(kind.upstream),
})

const newActor = (kind: Kind, user_id: string): Actor => ({
  agent_id: newId('agt'),
  document: newDocument(kind),
  owner_id: kind.ownAgent ? user_id : newId('usr'),
  credential_id: newId('crd'),
  permission_id: newId('apm'),
  narrow_permission_id: kind.actor === 'narrowed' ? newId('apm') : undefined,
})

const newDocument = ({ clients }: Kind): Document | undefined =>
  clients === undefined ? undefined : { url: `${clients}/${randomUUID()}`, rule_id: newId('cmr') }

const newElsewhere = (): Elsewhere => ({
  audience_id: newId('aud'),
  issuer: newIssuer(),
  entitlement_id: newId('ent'),
  delegation_id: newId('dlg'),
})

const newUpstream = (jwks_uri: string): Upstream => ({
  id: newId('tis'),
  issuer: `https://${randomUUID()}.login.example`,
  jwks_uri,
  subject: randomUUID(),
})

const newIssuer = () => `https://${randomUUID()}.paperclip.example`

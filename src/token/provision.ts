/**
 * Finds or makes the user of a subject that a trusted issuer vouches for and nobody has linked yet, as its
 * registration says. Two exchanges at a time come to one user and one link.
 *
 *  1. A user is found by `external_id` alone. An address of the token that another user has is a refusal:
 *     whoever gets the issuer to write somebody's address into a token is not that person.
 *  2. Nor is a user found who has an account at another issuer: an `external_id` may be a `sub`, and what is
 *     one person's `sub` there is somebody else's here. That takes an administrator, who links them.
 *  3. What is made carries where it came from: who linked it, and who verified its addresses, is the
 *     registration.
 */
import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import { recordEvent } from '../audit/record.ts'
import type { Db, Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { hasEnded } from '../policy/ended.ts'
import type { Registration } from '../rules/trusted-issuer-queries.ts'
import {
  hasAccountElsewhere,
  holdIssuer,
  insertAccount,
} from '../rules/upstream-account-queries.ts'
import { addUser } from '../users/add.ts'
import { findUserByExternalId } from '../users/queries.ts'
import { type Progress, spendPresented } from './progress.ts'
import { profileOf, type UpstreamProfile } from './upstream-claims.ts'

type Vouched = { registration: Registration; subject: string; claims: Record<string, unknown> }
type Agent = { kind: 'agent'; id: string; request_id: string }
type Outcome = { provisioned: true } | { refused: Reason }
type Known = { at: Date; by: Agent; registration: Registration; profile: UpstreamProfile }

/** @throws {Refusal} for a client assertion or a proof that was presented before */
export async function provisionAccount(
  deps: Deps,
  { registration, subject, claims }: Vouched,
  agent: AgentFacts,
  progress: Progress,
): Promise<Outcome> {
  const profile = profileOf(claims, registration)
  if (registration.provisioning === 'refuse' || profile.external_id === undefined) {
    return { refused: 'unknown_upstream_account' }
  }
  await spendPresented(deps, progress)
  const by = { kind: 'agent', id: agent.id, request_id: progress.request_id } as const
  const known: Known = { at: deps.now(), by, registration, profile }
  return deps.db
    .transaction()
    .execute((tx) => link(tx, known, subject))
    .catch((error): Outcome => {
      if (error instanceof LinkedMeanwhile) return { provisioned: true }
      throw error
    })
}

async function link(tx: Db, known: Known, subject: string): Promise<Outcome> {
  const { at, by, registration } = known
  const { id, tenant_id, issuer } = registration
  const held = await holdIssuer(tx, id)
  if (held?.ended_at !== null || hasEnded(registration, at)) {
    return { refused: 'issuer_not_trusted' }
  }
  const user = await userOf(tx, known)
  if (user === undefined) return { refused: 'unknown_upstream_account' }
  if (user.status !== 'active') return { refused: 'user_inactive' }
  const account = { tenant_id, issuer, subject, user_id: user.id, created_at: at, created_by: id }
  if ((await insertAccount(tx, account)) === undefined) throw new LinkedMeanwhile()
  await recordEvent(tx, {
    type: 'upstream_account.linked',
    at,
    actor: by,
    tenant_id,
    agent_id: by.id,
    user_id: user.id,
    detail: { trusted_issuer_id: id },
  })
  return { provisioned: true }
}

/** The user with the `external_id` of the token, made if that may be. */
async function userOf(
  tx: Db,
  { at, by, registration, profile }: Known,
): Promise<Pick<Row<'users'>, 'id' | 'status'> | undefined> {
  const { id, tenant_id, issuer, provisioning } = registration
  const { external_id = '' } = profile
  const found = async () => {
    const user = await findUserByExternalId(tx, { tenant_id, external_id })
    return user && (await hasAccountElsewhere(tx, { user_id: user.id, issuer })) ? undefined : user
  }
  const user = await found()
  if (user !== undefined || provisioning !== 'create') return user
  const added = await addUser(tx, {
    given: { ...profile, tenant_id },
    verified_by: id,
    at,
    by,
    detail: { trusted_issuer_id: id },
  })
  // Taken: by an exchange of the same subject that was quicker, or its address by somebody else.
  return added ?? found()
}

/** Somebody linked the subject at the same time; what was made here for it must not stay. */
class LinkedMeanwhile extends Error {}

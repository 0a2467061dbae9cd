import type { Transaction } from 'kysely'
import { type Actor, recordEvent } from '../audit/record.ts'
import type { Db, Tables } from '../db/tables.ts'
import { grantDelegation } from '../delegations/grant.ts'
import {
  decideInteraction,
  findInteraction,
  type Interaction,
  lockInteraction,
} from '../delegations/interaction-queries.ts'
import { lockParties } from '../delegations/lock.ts'
import type { Deps } from '../deps.ts'
import { PageError, pageNotFound } from '../http/page-error.ts'
import type { Choice } from './choice.ts'
import { findConsentFacts } from './queries.ts'
import { type ConsentQuestion, consentQuestion, questionDigest } from './question.ts'
import { REFUSALS, type Refusal, TEXT_VERSION } from './text.ts'

/**
 * The user's own interaction.
 * @throws {PageError} 404 when there is none such, or it asks somebody else
 */
export async function requireOwnInteraction(
  deps: Deps,
  id: string,
  userId: string,
): Promise<Interaction> {
  const known = /^int_[A-Za-z0-9_-]{22}$/.test(id)
  const interaction = known ? await findInteraction(deps.db, id) : undefined
  if (interaction?.user_id !== userId) throw pageNotFound()
  return interaction
}

/** @throws {PageError} 409 or 410 unless the question still waits for its answer. */
export function requireOpen({ status, expires_at }: Interaction, now: Date): void {
  if (status === 'granted' || status === 'denied') throw refusal('already_decided')
  if (status === 'expired' || expires_at <= now) throw refusal('expired')
}

/** What the page of an interaction asks, as things stand; undefined when nothing of it can be allowed. */
export async function questionNow(
  db: Db,
  interaction: Interaction,
  now: Date,
): Promise<ConsentQuestion | undefined> {
  const facts = await findConsentFacts(db, interaction, now)
  return facts && consentQuestion(interaction, facts)
}

/**
 * Writes the user's answer, once: a second one finds the first. What is allowed is exactly what was
 * chosen on the page, if under the locks the page would still be the same; otherwise nothing is.
 * @throws {PageError} 409 or 410
 */
export async function decideInteractionOf(
  deps: Deps,
  interaction: Interaction,
  choice: Choice,
  request_id?: string,
): Promise<void> {
  const by = { kind: 'user', id: interaction.user_id, request_id } as const
  await deps.db
    .transaction()
    .execute((tx) =>
      choice.decision === 'deny'
        ? deny(tx, deps, interaction, by)
        : allow(tx, deps, interaction, choice, by),
    )
}

async function deny(
  tx: Transaction<Tables>,
  deps: Deps,
  { id }: Interaction,
  by: Actor,
): Promise<void> {
  const now = deps.now()
  const interaction = await lockInteraction(tx, id)
  if (!interaction) throw pageNotFound()
  requireOpen(interaction, now)
  await decideInteraction(tx, id, { status: 'denied' }, now)
  await recordDecision(tx, interaction, 'interaction.denied', now, by)
}

async function allow(
  tx: Transaction<Tables>,
  deps: Deps,
  { id, tenant_id, user_id, agent_id, audience_id }: Interaction,
  { scopes, mode, offline, expires_at, shown }: Extract<Choice, { decision: 'allow' }>,
  by: Actor,
): Promise<void> {
  const now = deps.now()
  // The parties before the interaction: a revocation takes them in this order too.
  const locked = await lockParties(tx, { tenant_id, user_id, agent_id, audience_id }, now)
  const interaction = await lockInteraction(tx, id)
  if (!interaction) throw pageNotFound()
  requireOpen(interaction, now)
  if (!locked.live) throw refusal('ended')

  const question = await questionNow(tx, interaction, now)
  if (!question) throw refusal('ended')
  if (shown !== questionDigest(question)) throw changed(interaction)
  const offered = question.scopes.map(({ name }) => name)
  if (scopes.some((scope) => !offered.includes(scope))) {
    throw refusal('unknown_scope', again(interaction))
  }
  if (offline && !question.offline) throw refusal('offline_of_no_use', again(interaction))

  const made = await grantDelegation(
    tx,
    deps,
    locked.parties,
    {
      scopes,
      resources: question.resources ?? null,
      authorization_details: question.details.map(({ detail }) => detail),
      claims: question.claims,
      mode,
      offline,
      source: 'user',
      text_version: TEXT_VERSION,
      expires_at,
    },
    by,
  )
  if (!made.granted) throw changed(interaction)
  await decideInteraction(tx, id, { status: 'granted', delegation_id: made.delegation.id }, now)
  await recordDecision(tx, interaction, 'interaction.granted', now, by, made.delegation.id)
}

const recordDecision = (
  tx: Transaction<Tables>,
  { id, tenant_id, user_id, agent_id, audience_id }: Interaction,
  type: 'interaction.granted' | 'interaction.denied',
  at: Date,
  actor: Actor,
  delegation_id?: string,
) =>
  recordEvent(tx, {
    type,
    at,
    actor,
    tenant_id,
    user_id,
    agent_id,
    audience_id,
    delegation_id,
    detail: { interaction_id: id },
  })

const changed = (interaction: Interaction): PageError => refusal('changed', again(interaction))

const again = ({ id }: Interaction) => ({
  href: `/consent/${id}`,
  text: 'Read the question again',
})

export function refusal(of: Refusal, link?: PageError['link']): PageError {
  const [status, title, text] = REFUSALS[of]
  return new PageError(status, title, text, { link })
}

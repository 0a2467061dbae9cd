import { createHash } from 'node:crypto'
import { newId } from '../db/ids.ts'
import type { Deps } from '../deps.ts'
import {
  type AuthorizationDetail,
  canonicalDetails,
  distinctDetails,
} from '../oauth/authorization-details.ts'
import { addSeconds } from '../oauth/numeric-date.ts'
import {
  expireExcessInteractions,
  expireStaleInteractions,
  findOpenInteraction,
  insertInteraction,
} from './interaction-queries.ts'
import type { Triple } from './lock.ts'

/**
 * A question to one user: may this agent do this there? Made when an exchange lacks nothing but consent.
 *
 *   open ──▶ granted | denied     (that user, on the consent page)
 *     └────▶ expired              (time, too many, or a revocation)
 *
 * Of one question there is one open interaction: asking again early gives it again.
 */
export type Ask = Triple & {
  tenant_id: string
  scopes: readonly string[]
  resources: readonly string[]
  details?: readonly AuthorizationDetail[]
}

/** Seconds that a question waits for its answer. */
const LIFETIME = 600

/** Open questions of one agent to one user; beyond it the oldest is dropped. */
const MOST_OPEN = 50

/**
 * The open interaction of this question, made if there is none.
 *
 * Each statement stands alone: a transaction that held an interaction and then waited for its user, agent or
 * audience, as a foreign key does, could wait in a circle with a revocation.
 */
export async function openInteraction(
  deps: Deps,
  ask: Ask,
): Promise<{ id: string; expires_at: Date }> {
  const now = deps.now()
  const { tenant_id, user_id, agent_id, audience_id } = ask
  const scopes = sorted(ask.scopes)
  const resources = sorted(ask.resources)
  const details = distinctDetails(ask.details ?? [])
  const question = createHash('sha256')
    .update(JSON.stringify([scopes, resources, canonicalDetails(details)]))
    .digest()
  const of = { tenant_id, user_id, agent_id, audience_id, question }
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    const open = await findOpenInteraction(deps.db, of, now)
    if (open) return open
    await expireStaleInteractions(deps.db, of, now)
    await expireExcessInteractions(deps.db, of, MOST_OPEN - 1)
    const made = await insertInteraction(deps.db, {
      id: newId('int'),
      ...of,
      scopes,
      resources,
      authorization_details: JSON.stringify(details),
      created_at: now,
      expires_at: addSeconds(now, LIFETIME),
    })
    if (made) return made
  }
  throw new Error('the open interaction of one question came and went meanwhile')
}

const MOST_ATTEMPTS = 5

const sorted = (values: readonly string[]): string[] => [...new Set(values)].sort()

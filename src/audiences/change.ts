import { isDeepStrictEqual } from 'node:util'
import { byAdmin, recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { hurryAll } from '../events/hurry.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, notFound, ProblemError, requireSigned } from '../http/problem.ts'
import { readInstant } from '../http/shapes.ts'
import { listAliases } from './alias-queries.ts'
import { describeAudience } from './audience.ts'
import { endpointJudge } from './event-settings.ts'
import { keepAliases } from './keep-aliases.ts'
import { readAliases } from './names.ts'
import { canOwn, findAudience, lockAudience, updateAudience } from './queries.ts'
import type { Audience, AudiencePatch } from './schema.ts'
import { patchSettings } from './settings.ts'

/**
 * Applies a merge patch to an audience. Who it is (issuer, profile, whom it knows by which subject) does not
 * change, and its status has calls of its own.
 * @throws {ProblemError} `not_found`, `validation_failed`, `unsupported_value`, `invalid_transition`
 *   (retired is final), `already_exists` (an alias, in its tenant)
 */
export async function changeAudience(
  tx: Db,
  deps: Deps,
  id: string,
  patch: AudiencePatch,
  admin: Admin,
): Promise<Audience> {
  const known = await findAudience(tx, id)
  if (known === undefined) throw notFound('audience')
  const { owner_id, review_at } = patch
  // Before the audience's own lock: users come first in the order of locks. A record never changes tenant.
  if (
    typeof owner_id === 'string' &&
    !(await canOwn(tx, { tenant_id: known.tenant_id, owner_id }))
  ) {
    throw invalid('/owner_id', 'names no user of this tenant')
  }
  const row = await lockAudience(tx, id)
  if (row === undefined) throw notFound('audience')
  const { discovery } = known
  const before = { ...row, aliases: await listAliases(tx, id), discovery }
  if (before.status === 'retired') {
    throw new ProblemError('invalid_transition', 'This audience is retired, which is final')
  }
  requireSigned('/id_jag_signing_alg', patch.id_jag_signing_alg, deps.config.signingAlgs)
  const { issuer: self, idJagLifetime } = deps.config
  const next = {
    ...patchSettings(before, patch, before.profile, idJagLifetime, endpointJudge(deps)),
    name: patch.name ?? before.name,
    aliases:
      patch.aliases === undefined
        ? before.aliases
        : readAliases(patch.aliases ?? [], before.issuer, self),
    owner_id: owner_id === undefined ? before.owner_id : owner_id,
    review_at: patchInstant('/review_at', before.review_at, review_at),
  }
  const names = Object.keys(next) as (keyof typeof next)[]
  const changed = names.filter((name) => !isDeepStrictEqual(next[name], before[name]))
  if (changed.length === 0) return describeAudience(before)
  const now = deps.now()
  const { aliases, ...columns } = next
  if (changed.includes('aliases')) await keepAliases(tx, before, patch.aliases ?? [])
  // Also where the aliases alone changed: an exchange that found it by one of them sees another version.
  const audience = await updateAudience(tx, id, {
    ...columns,
    resources: JSON.stringify(next.resources),
    updated_at: now,
  })
  // What waited may have waited for this.
  if (changed.includes('events_endpoint')) await hurryAll(tx, id)
  await recordEvent(tx, {
    type: 'audience.updated',
    at: now,
    actor: byAdmin(admin),
    tenant_id: before.tenant_id,
    audience_id: id,
    detail: { changed },
  })
  return describeAudience({ ...audience, aliases, discovery })
}

const patchInstant = (pointer: string, before: Date | null, given: string | null | undefined) =>
  typeof given === 'string' ? readInstant(pointer, given) : given === null ? null : before

import { byAdmin, recordEvent } from '../audit/record.ts'
import { holdTenant } from '../db/hold-tenant.ts'
import { DEFAULT_TENANT, newId } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import { violatedUnique } from '../db/unique.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, ProblemError, requireSigned } from '../http/problem.ts'
import { readInstant } from '../http/shapes.ts'
import { describeAudience } from './audience.ts'
import { endpointJudge } from './event-settings.ts'
import { keepAliases, takeIssuer } from './keep-aliases.ts'
import { checkIssuer, readAliases } from './names.ts'
import { canOwn, insertAudience } from './queries.ts'
import type { Audience, NewAudience } from './schema.ts'
import { sectorOf } from './sector.ts'
import { NO_SETTINGS, patchSettings } from './settings.ts'

/** @throws {ProblemError} `validation_failed`, `unsupported_value`, `already_exists` (a name, in its tenant) */
export async function registerAudience(
  tx: Db,
  deps: Deps,
  given: NewAudience,
  admin: Admin,
  state: { status?: 'suspended'; status_reason?: string } = {},
): Promise<Audience> {
  const now = deps.now()
  const { issuer: self, allowLoopbackHttp, idJagLifetime } = deps.config
  const { issuer, name, profile, tenant_id = DEFAULT_TENANT, owner_id } = given
  requireSigned('/id_jag_signing_alg', given.id_jag_signing_alg, deps.config.signingAlgs)
  checkIssuer(issuer, self, allowLoopbackHttp)
  const aliases = readAliases(given.aliases ?? [], issuer, self)
  const { subject_type = 'public' } = given
  const sector = sectorOf({ subject_type, sector: given.sector, issuer })
  const settings = patchSettings(NO_SETTINGS, given, profile, idJagLifetime, endpointJudge(deps))
  if (!(await holdTenant(tx, tenant_id))) throw invalid('/tenant_id', 'names no tenant')
  if (typeof owner_id === 'string' && !(await canOwn(tx, { tenant_id, owner_id }))) {
    throw invalid('/owner_id', 'names no user of this tenant')
  }
  await takeIssuer(tx, { tenant_id, issuer })
  const audience = await insertAudience(tx, {
    ...settings,
    id: newId('aud'),
    tenant_id,
    issuer,
    name,
    profile,
    resources: JSON.stringify(settings.resources),
    subject_type,
    sector,
    owner_id,
    review_at: given.review_at ? readInstant('/review_at', given.review_at) : null,
    ...state,
    created_at: now,
    updated_at: now,
  }).catch((error) => {
    if (violatedUnique(error) !== 'audiences_issuer') throw error
    const detail = 'An audience of this tenant has this issuer'
    throw new ProblemError('already_exists', detail, { errors: [{ pointer: '/issuer', detail }] })
  })
  await keepAliases(tx, audience, given.aliases ?? [])
  await recordEvent(tx, {
    type: 'audience.created',
    at: now,
    actor: byAdmin(admin),
    tenant_id,
    audience_id: audience.id,
  })
  return describeAudience({ ...audience, aliases, discovery: null })
}

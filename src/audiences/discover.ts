/**
 * An audience that is found by discovery. What is found is written down and shown, and nothing is minted on
 * its word before an administrator has approved it (DR-09).
 */
import { DEFAULT_TENANT } from '../db/ids.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid, ProblemError, unsupported } from '../http/problem.ts'
import { sameServer } from '../oauth/metadata-location.ts'
import { findAliases, findIssuersOfOthers } from './alias-queries.ts'
import { eventsOf, flagsOf, pendingRegistration } from './discovery.ts'
import { insertDiscovery } from './discovery-queries.ts'
import type { Found } from './found.ts'
import { keptDocuments, timesOf } from './kept-documents.ts'
import { formsOf } from './names.ts'
import { requireAudience } from './queries.ts'
import { Undiscoverable } from './read-document.ts'
import { registerAudience } from './register.ts'
import type { Audience, DiscoverAudience, NewAudience } from './schema.ts'
import { type ChooseServer, type Walked, walk } from './walk.ts'

export type Discovering = { walked: Walked } | { refusal: ProblemError }

/**
 * Before any transaction. A refusal is a value: a call that is sent again gets its first answer, whatever is
 * found by now.
 */
export async function discover(deps: Deps, given: DiscoverAudience): Promise<Discovering> {
  const tenant_id = given.tenant_id ?? DEFAULT_TENANT
  try {
    const walked = await walk(deps, given.discover, chooseServer(deps.db, given.issuer, tenant_id))
    if ((given.profile ?? walked.found.profile) === null) throw unsupported('/discover', NO_PROFILE)
    return { walked }
  } catch (error) {
    if (error instanceof ProblemError) return { refusal: error }
    if (!(error instanceof Undiscoverable)) throw error
    return { refusal: invalid('/discover', `leads to no audience: ${error.message}`) }
  }
}

const NO_PROFILE =
  'leads to an authorization server that does not say that it takes ID-JAGs; if you know that it does, send profile too'

/** DR-04: of several the one that was asked for, or the first that is registered already. */
const chooseServer =
  (db: Db, wanted: string | undefined, tenant_id: string): ChooseServer =>
  async (servers) => {
    const [first = ''] = servers
    if (wanted !== undefined) {
      const one = servers.find((server) => sameServer(server, wanted))
      if (one !== undefined) return one
      throw new Undiscoverable(`of its authorization servers none is that issuer: ${list(servers)}`)
    }
    if (servers.length === 1) return first
    const names = servers.flatMap(formsOf)
    const known = await findIssuersOfOthers(db, { id: '', tenant_id, names })
    const registered = servers.find((server) =>
      formsOf(server).some((form) => known.includes(form)),
    )
    if (registered !== undefined) return registered
    throw new Undiscoverable(
      `it names several authorization servers; send one of them as issuer: ${list(servers)}`,
    )
  }

const list = (servers: string[]): string => servers.join(', ')

/** @throws {ProblemError} as registration does; what is wrong with what was found is told at `/discover` */
export async function registerDiscovered(
  tx: Db,
  deps: Deps,
  given: DiscoverAudience,
  { found, documents }: Walked,
  admin: Admin,
): Promise<Audience> {
  const { discover: url, issuer: _chosen, ...told } = given
  const { tenant_id = DEFAULT_TENANT } = given
  const names = formsOf(found.issuer)
  const of = { tenant_id, names }
  const [issuer] = await findIssuersOfOthers(tx, { ...of, id: '' })
  if (issuer !== undefined) throw taken(`${issuer}, which is an audience of this tenant already`)
  const [alias] = await findAliases(tx, of)
  if (alias !== undefined) throw taken(`${alias}, which an audience of this tenant has as an alias`)
  const stopped = { status: 'suspended', status_reason: AWAITS_APPROVAL } as const
  const audience = await registerAudience(tx, deps, fill(told, found), admin, stopped)
  const now = deps.now()
  await insertDiscovery(tx, {
    audience_id: audience.id,
    tenant_id: audience.tenant_id,
    url,
    documents: keptDocuments(documents),
    found,
    pending: pendingRegistration(found, now),
    stopped: true,
    flags: flagsOf(audience, found, found),
    asked_at: now,
    ...timesOf(documents, now),
  })
  return requireAudience(tx, audience.id)
}

/** Of two who find it at a time, one is told so by the registration itself. */
function taken(by: string): ProblemError {
  const detail = `leads to ${by}`
  return new ProblemError('already_exists', detail, { errors: [{ pointer: '/discover', detail }] })
}

const AWAITS_APPROVAL = 'Found by discovery; approve-change brings it into force'

function fill(told: Omit<DiscoverAudience, 'discover' | 'issuer'>, found: Found): NewAudience {
  const { issuer, name, profile, resources, dpop_required } = found
  return {
    issuer,
    name,
    resources: resources.map(({ authorization_details_types: types, ...resource }) => ({
      ...resource,
      ...(types && { authorization_details_types: types.map(({ type }) => type) }),
    })),
    dpop_required,
    // Who names another endpoint, or none, says how to speak to it too.
    ...(told.events_endpoint === undefined && eventsOf(found)),
    profile: profile as NewAudience['profile'],
    ...told,
  }
}

/**
 * What changes between two readings of a relying app's documents, and which of it somebody has to approve.
 *
 *   nobody asked yet ─┐
 *   another issuer    ├→ awaits approval; nothing of it is applied, and nothing is minted
 *   another host      │
 *   a document that   │
 *   names another one ─┘
 *   another place on a host that is known → applied
 *   something is gone, or new and for people to act on → flagged, the record stays
 *
 * Once something awaits approval, all that follows does too, even a return to what was approved before:
 * whoever was able to change the documents was able to change them back.
 */
import { createHash } from 'node:crypto'
import type { EventDialect, Profile } from '../db/tables.ts'
import { ENDPOINTS, type EndpointName } from '../oauth/server-metadata.ts'
import { hostOf } from '../oauth/uri.ts'
import { type Found, foreignHosts } from './found.ts'

export type Change = {
  member: 'issuer' | 'resource' | EndpointName
  from: string | null
  to: string
}

/** A document at `location` names in this member another (`to`) than the one that the audience is (`from`). */
export type Dispute = {
  member: 'issuer' | 'authorization_servers' | 'resource'
  location: string
  from: string
  to: string
  /** Why that one cannot take its place; null where it said by itself who it is. */
  obstacle: string | null
}

export type Pending = {
  reason: 'registration' | 'change'
  noticed_at: string
  /** Of what approval would put in force. */
  digest: string
  changes: Change[]
  found: Found
  /** Where a document names somebody else: what it says, and what stands against approval. */
  notice?: string
  obstacle?: string | null
}

export const FLAGS = [
  'events_endpoint_missing',
  'events_endpoint_lost',
  'support_lost',
  'profile_changed',
  'dpop_now_required',
] as const
export type Flag = (typeof FLAGS)[number]

/** What an audience's record has that documents may change. */
export type Followed = {
  events_endpoint: string | null
  events_dialect: EventDialect | 'none'
  event_type: string | null
  event_names_agent: boolean
}

/** What a newcomer awaits approval of. */
export const pendingRegistration = (found: Found, now: Date): Pending => ({
  reason: 'registration',
  noticed_at: now.toISOString(),
  digest: digestOf(found),
  changes: [],
  found,
})

/** What awaits approval after a reading, if anything does. The same news keeps its date and digest. */
export function pendingAfter(
  { found: before, pending }: { found: Found; pending: Pending | null },
  after: Found,
  now: Date,
  dispute?: Dispute,
): Pending | null {
  const changes = [...changesBetween(before, after), ...changesBy(dispute)]
  if (pending === null && changes.length === 0) return null
  const digest = digestOf(after, dispute)
  const words = dispute && { notice: noticeOf(dispute), obstacle: dispute.obstacle }
  if (pending?.digest === digest) {
    const { notice: _notice, obstacle: _obstacle, ...same } = pending
    return { ...same, ...words }
  }
  const { reason = 'change' } = pending ?? {}
  return { reason, noticed_at: now.toISOString(), digest, changes, found: after, ...words }
}

/** What there is to approve of one that did not say by itself who it is: nothing but the name. */
export function foundOf({ member, to }: Dispute, before: Found): Found {
  if (member === 'resource') return before
  return { ...before, issuer: to, profile: null, endpoints: {}, events: null, ignored: [] }
}

const changesBy = (dispute: Dispute | undefined): Change[] =>
  dispute?.member === 'resource' ? [{ member: 'resource', from: dispute.from, to: dispute.to }] : []

const noticeOf = ({ member, location, from, to }: Dispute): string =>
  `The document at ${location} ${NAMES[member]} ${to} instead of ${from}`

const NAMES: Record<Dispute['member'], string> = {
  issuer: 'names the issuer',
  authorization_servers: 'names the authorization server',
  resource: 'speaks of the resource',
}

/** Another issuer, and endpoints on hosts that no endpoint was on when it was approved (DR-10). */
export function changesBetween(before: Found, after: Found): Change[] {
  const known = [hostOf(before.issuer), ...foreignHosts(before)]
  const changes: Change[] = []
  if (after.issuer !== before.issuer) {
    changes.push({ member: 'issuer', from: before.issuer, to: after.issuer })
  }
  for (const member of ENDPOINTS) {
    const to = after.endpoints[member]
    if (to === undefined || known.includes(hostOf(to))) continue
    changes.push({ member, from: before.endpoints[member] ?? null, to })
  }
  return changes
}

/** What the record goes by after a reading that needs no approval: events go on to an endpoint that was lost. */
export function follow(before: Found, after: Found): Found {
  const { endpoints, ignored } = after
  if (after.events !== null || before.events === null) {
    return { ...before, endpoints, events: after.events, ignored }
  }
  const { events_endpoint, revocation_uri } = before.endpoints
  const kept = {
    ...(events_endpoint !== undefined && { events_endpoint }),
    ...(revocation_uri !== undefined && { revocation_uri }),
  }
  return { ...before, endpoints: { ...endpoints, ...kept }, ignored }
}

/** How the record hears of revocations after `before` has become `after`; as it was, where it was told otherwise. */
export function eventsAfter(record: Followed, before: Found, after: Found): Followed {
  const told = eventsOf(before)
  const isFollowing =
    record.events_endpoint === told.events_endpoint && record.events_dialect === told.events_dialect
  if (!isFollowing || after.events === null) return record
  const next = eventsOf(after)
  return {
    ...next,
    event_type: record.event_type === told.event_type ? next.event_type : record.event_type,
    event_names_agent: record.event_names_agent && next.events_dialect === 'set',
  }
}

export const eventsOf = ({ events }: Found): Omit<Followed, 'event_names_agent'> => ({
  events_endpoint: events?.endpoint ?? null,
  events_dialect: events?.dialect ?? 'none',
  event_type: events?.event_type ?? null,
})

/** @param before the same as `after` for a newcomer */
export function flagsOf(
  { dpop_required, events_endpoint }: { dpop_required: boolean; events_endpoint: string | null },
  before: Found,
  after: Found,
): Flag[] {
  const raised: Record<Flag, boolean> = {
    events_endpoint_missing: events_endpoint === null && after.events === null,
    events_endpoint_lost: before.events !== null && after.events === null,
    support_lost: before.profile !== null && after.profile === null,
    profile_changed: isOther(before.profile, after.profile),
    dpop_now_required: after.dpop_required && !dpop_required,
  }
  return FLAGS.filter((flag) => raised[flag])
}

const isOther = (before: Profile | null, after: Profile | null) =>
  before !== null && after !== null && before !== after

/** Of all that approval confirms; independent of the order of members, which a database does not keep. */
function digestOf({ issuer, profile, endpoints, events }: Found, dispute?: Dispute): string {
  const said = [
    issuer,
    profile,
    ENDPOINTS.map((name) => endpoints[name] ?? null),
    events && [events.endpoint, events.dialect, events.event_type],
    // Or a return to what was approved could look like what stands against it.
    ...(dispute && dispute.obstacle !== null ? [dispute.member, dispute.to] : []),
  ]
  return createHash('sha256').update(JSON.stringify(said)).digest('base64url')
}

/**
 * Reads the documents of audiences again that were found by discovery (DR-10), each by one replica at a time.
 *
 *   another issuer or host   → minting stops until it is approved. Nothing is ended, no event is sent, and events
 *                              go on to the endpoint that was approved last
 *   that it is somebody else → the same, and of what says so nothing is kept (read-again.ts)
 *   another place            → followed, and audited
 *   support or endpoint gone → flagged; the record stays as it is
 *   cannot be read           → counted and shown; the record stays as it is
 */
import { recordEvent } from '../audit/record.ts'
import type { Row } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { hurryAll } from '../events/hurry.ts'
import { repeatedly, type Worker } from '../http/repeatedly.ts'
import {
  type Dispute,
  eventsAfter,
  flagsOf,
  follow,
  type Pending,
  pendingAfter,
} from './discovery.ts'
import {
  type Claim,
  claimDue,
  claimOne,
  type Discovery,
  findDiscovery,
  updateDiscovery,
} from './discovery-queries.ts'
import { afterFailures, keptDocuments, timesOf } from './kept-documents.ts'
import { lockAudience, updateAudience } from './queries.ts'
import { type Reading, readAgain } from './read-again.ts'
import { Undiscoverable } from './read-document.ts'
import type { Walked } from './walk.ts'
import { type CountReading, watchDiscoveries } from './watch-discoveries.ts'

type Surroundings = Pick<Deps, 'db' | 'outbound' | 'now' | 'config' | 'log'>

/** Milliseconds between two rounds, and audiences that are read at a time. */
const EVERY = 30_000
const MOST = 4
/** Milliseconds between two readings of one audience, however often it is asked for. */
const GAP = 30_000

/** `reread` is for who learns from an endpoint that something has moved (404, 410, `invalid_audience`). */
export function startRereading(deps: Surroundings & Pick<Deps, 'metrics'>): Worker & {
  reread(audienceId: string): Promise<void>
} {
  const count = watchDiscoveries(deps.metrics.registry, deps)
  const { stop } = repeatedly(EVERY, (stopping) => rereadDue(deps, count, stopping), {
    failed: (err) => deps.log.warn({ err }, 'audience.rereading_failed'),
    again: () => deps.log.info('audience.rereading_again'),
  })
  return { reread: (audienceId) => rereadAudience(deps, audienceId, count), stop }
}

/** Those that are due, some at a time. */
export async function rereadDue(
  deps: Surroundings,
  count?: CountReading,
  stopping?: AbortSignal,
): Promise<void> {
  while (!stopping?.aborted) {
    const claims = await claimDue(deps.db, deps.now(), MOST)
    await Promise.all(claims.map((claim) => reread(deps, claim, count)))
    if (claims.length < MOST) return
  }
}

/** At once, unless that was just done or is under way; an audience by hand has nothing to be read. */
export async function rereadAudience(
  deps: Surroundings,
  audience_id: string,
  count?: CountReading,
): Promise<void> {
  const now = deps.now()
  const before = new Date(now.getTime() - GAP)
  const claim = await claimOne(deps.db, { audience_id, before }, now)
  if (claim !== undefined) await reread(deps, claim, count)
}

async function reread(deps: Surroundings, claim: Claim, count?: CountReading): Promise<void> {
  const { audience_id } = claim
  try {
    const outcome = await store(deps, claim, await readAgain(deps, claim))
    count?.(outcome)
  } catch (error) {
    if (error instanceof Undiscoverable) await storeFailure(deps, claim, error)
    // Whatever else went wrong is ours: the claim runs out, and somebody tries again.
    deps.log.warn({ err: error, audience_id }, 'audience.documents_unread')
    count?.('failed')
  }
}

type News = {
  audience: Row<'audiences'>
  discovery: Discovery
  walked: Walked
  dispute: Dispute | undefined
  now: Date
}

async function store(
  { db, now: clock, log }: Surroundings,
  claim: Claim,
  { walked, dispute }: Reading,
): Promise<'same' | 'moved' | 'change'> {
  const now = clock()
  const noticed = await db.transaction().execute(async (tx) => {
    const audience = await lockAudience(tx, claim.audience_id)
    const discovery = await findDiscovery(tx, claim.audience_id)
    if (!audience || !discovery || audience.status === 'retired') return undefined
    if (discovery.claimed_until?.getTime() !== claim.claimed_until.getTime()) return undefined
    const news = { audience, discovery, walked, dispute, now }
    const pending = pendingAfter(discovery, walked.found, now, dispute)
    return pending ? stopFor(tx, news, pending) : followIn(tx, news)
  })
  if (noticed?.outcome === 'change') {
    const { changed } = noticed
    log.error({ audience_id: claim.audience_id, changed }, 'audience.change_noticed')
  }
  return noticed?.outcome ?? 'same'
}

type Outcome = { outcome: 'same' | 'moved' | 'change'; changed: string[] }
type Tx = Parameters<typeof updateDiscovery>[0]

/** What holds for every reading that succeeded. */
const readingOf = ({ audience, discovery, walked, dispute, now }: News) => ({
  ...(dispute
    ? // What speaks of somebody else is not kept as its own.
      { next_read_at: timesOf(walked.documents, now).next_read_at }
    : { documents: keptDocuments(walked.documents), ...timesOf(walked.documents, now) }),
  flags: dispute?.obstacle ? discovery.flags : flagsOf(audience, discovery.found, walked.found),
  failures: 0,
  last_failure: null,
  failed_at: null,
  claimed_until: null,
})

async function stopFor(tx: Tx, news: News, pending: Pending): Promise<Outcome> {
  const { audience, discovery, now } = news
  const { id } = audience
  const stops = audience.status === 'active'
  const isNews = pending.digest !== discovery.pending?.digest
  const stopped = discovery.stopped || stops
  await updateDiscovery(tx, id, { ...readingOf(news), pending, stopped })
  const changed = pending.changes.map(({ member }) => member)
  if (!stops && !isNews) return { outcome: 'same', changed }
  await updateAudience(tx, id, {
    ...(stops && { status: 'suspended', status_reason: CHANGED }),
    updated_at: now,
  })
  await recordEvent(tx, {
    type: 'audience.change_noticed',
    ...bySystem(news),
    detail: { what: pending.reason, digest: pending.digest, changed, stopped: stops },
  })
  return { outcome: 'change', changed }
}

const CHANGED =
  'Its documents changed its issuer, its resource or a host; see pending_change, and approve-change'

const bySystem = ({ audience: { id, tenant_id }, now }: News) =>
  ({ at: now, actor: { kind: 'system' }, tenant_id, audience_id: id }) as const

async function followIn(tx: Tx, news: News): Promise<Outcome> {
  const { audience, discovery, walked, now } = news
  const { id } = audience
  const reading = readingOf(news)
  const found = follow(discovery.found, walked.found)
  await updateDiscovery(tx, id, { ...reading, found })
  const flags = reading.flags.filter((flag) => !discovery.flags.includes(flag))
  if (flags.length > 0) {
    await recordEvent(tx, { type: 'audience.flagged', ...bySystem(news), detail: { flags } })
  }
  const told = eventsAfter(audience, discovery.found, found)
  const changed = EVENT_MEMBERS.filter((name) => told[name] !== audience[name])
  if (changed.length === 0) return { outcome: 'same', changed }
  const columns = Object.fromEntries(changed.map((name) => [name, told[name]]))
  await updateAudience(tx, id, { ...columns, updated_at: now })
  if (changed.includes('events_endpoint')) await hurryAll(tx, id)
  await recordEvent(tx, { type: 'audience.updated', ...bySystem(news), detail: { changed } })
  return { outcome: 'moved', changed }
}

const EVENT_MEMBERS = [
  'events_endpoint',
  'events_dialect',
  'event_type',
  'event_names_agent',
] as const

async function storeFailure(
  { db, now: clock }: Surroundings,
  { audience_id, claimed_until }: Claim,
  error: Undiscoverable,
): Promise<void> {
  const now = clock()
  await db.transaction().execute(async (tx) => {
    await lockAudience(tx, audience_id)
    const discovery = await findDiscovery(tx, audience_id)
    if (discovery?.claimed_until?.getTime() !== claimed_until.getTime()) return
    const failures = discovery.failures + 1
    await updateDiscovery(tx, audience_id, {
      failures,
      last_failure: error.message.slice(0, 1000),
      failed_at: now,
      next_read_at: afterFailures(failures, now),
      claimed_until: null,
    })
  })
}

/** How an audience hears of revocations, judged by values alone. */
import type { EventDialect } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { invalid } from '../http/problem.ts'
import { isOurs, normaliseResource } from '../oauth/uri.ts'
import type { AudiencePatch } from './schema.ts'

export type EventSettings = {
  events_endpoint: string | null
  events_dialect: EventDialect | 'none'
  event_type: string | null
  event_names_agent: boolean
  notify_expiry: boolean
  notify_when: 'each' | 'last'
}

export const NO_EVENTS: EventSettings = {
  events_endpoint: null,
  events_dialect: 'none',
  event_type: null,
  event_names_agent: false,
  notify_expiry: false,
  notify_when: 'each',
}

/** What is wrong with an address that this server is to call, in words; undefined for one that will do. */
export type JudgeUrl = (url: string) => string | undefined

/** An events endpoint may be wherever we may call, but for here. */
export const endpointJudge =
  ({ config, outbound }: Pick<Deps, 'config' | 'outbound'>): JudgeUrl =>
  (url) =>
    isOurs(url, config.issuer) ? 'it is an address of this server' : outbound.judge(url)

/**
 * The settings after a merge patch. An endpoint alone is one for security event tokens, and without one
 * nothing is told.
 * @throws {ProblemError} `validation_failed`
 */
export function patchEventSettings(
  before: EventSettings,
  patch: AudiencePatch,
  judgeUrl: JudgeUrl,
): EventSettings {
  const { events_endpoint = before.events_endpoint, event_type = before.event_type } = patch
  const settings = {
    events_endpoint,
    events_dialect: dialectOf(before, patch, events_endpoint),
    event_type,
    event_names_agent: merged(patch.event_names_agent, before.event_names_agent, false),
    notify_expiry: merged(patch.notify_expiry, before.notify_expiry, false),
    notify_when: merged(patch.notify_when, before.notify_when, 'each' as const),
  }
  checkEndpoint(patch.events_endpoint, judgeUrl)
  if (event_type !== null && normaliseResource(event_type) === undefined) {
    throw invalid('/event_type', 'must be an absolute URI without a fragment')
  }
  checkTogether(settings)
  return settings
}

/** Absent: as it was; null: as it is without being told. */
const merged = <Value>(given: Value | null | undefined, before: Value, standard: Value): Value =>
  given === undefined ? before : (given ?? standard)

function dialectOf(
  before: EventSettings,
  { events_dialect, events_endpoint: given }: AudiencePatch,
  endpoint: string | null,
): EventSettings['events_dialect'] {
  if (typeof events_dialect === 'string') return events_dialect
  if (endpoint === null) return 'none'
  // Switched off by name, it stays off when the address alone is changed.
  const kept = events_dialect === undefined && (given === undefined || before.events_endpoint)
  return kept ? before.events_dialect : 'set'
}

function checkEndpoint(given: string | null | undefined, judgeUrl: JudgeUrl): void {
  if (typeof given !== 'string') return
  if (given.includes('#')) throw invalid('/events_endpoint', 'must have no fragment')
  const fault = judgeUrl(given)
  if (fault !== undefined) throw invalid('/events_endpoint', `cannot be called: ${fault}`)
}

function checkTogether(settings: EventSettings): void {
  const { events_endpoint, events_dialect, event_names_agent } = settings
  if (events_dialect !== 'none' && events_endpoint === null) {
    throw invalid(
      '/events_endpoint',
      `is missing: without it events_dialect ${events_dialect} tells nobody`,
    )
  }
  if (event_names_agent && events_dialect === 'logout') {
    throw invalid('/event_names_agent', 'needs the dialect set: the other one cannot name an agent')
  }
}

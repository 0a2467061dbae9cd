import type { FastifyRequest } from 'fastify'
import { requireSigned, unsupported } from '../http/problem.ts'
import type { AudiencePatch, NewAudience } from './schema.ts'

type Given = Partial<NewAudience> & AudiencePatch

/**
 * Refuses what the contract knows and this release does not do, so that nobody believes it is in force.
 * @throws {ProblemError} `unsupported_value`
 */
export function refuseUnbuilt(given: Given, signingAlgs: readonly string[]): void {
  requireSigned('/id_jag_signing_alg', given.id_jag_signing_alg, signingAlgs)
  const asked = firstUnbuilt(given)
  if (asked !== undefined) throw unsupported(asked.pointer, asked.detail)
}

/** A `preValidation` hook: discovery comes instead of the members that would otherwise be missed. */
export async function refuseDiscovery({ body }: FastifyRequest): Promise<void> {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, 'discover')) return
  throw unsupported('/discover', 'is not supported yet: send issuer, name, profile and resources')
}

function firstUnbuilt(given: Given): { pointer: string; detail: string } | undefined {
  const leaveOut = 'is not supported yet: leave it out'
  const asked = Object.entries({
    events_endpoint: given.events_endpoint,
    events_dialect: (given.events_dialect ?? 'none') !== 'none',
    event_type: given.event_type,
    event_names_agent: given.event_names_agent,
    notify_expiry: given.notify_expiry,
  }).find(([, value]) => Boolean(value))
  return asked && { pointer: `/${asked[0]}`, detail: leaveOut }
}

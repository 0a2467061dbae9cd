import type { FastifyRequest } from 'fastify'
import { unsupported } from '../http/problem.ts'

/** A `preValidation` hook: discovery comes instead of the members that would otherwise be missed. */
export async function refuseDiscovery({ body }: FastifyRequest): Promise<void> {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, 'discover')) return
  throw unsupported('/discover', 'is not supported yet: send issuer, name, profile and resources')
}

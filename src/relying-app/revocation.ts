import { isObject } from '../oauth/is-object.ts'
import { isText } from './assertion.ts'

/** What an event says is to be dropped: what was given on the word of ID-JAGs with these claims. */
export type Revocation = {
  iss: string
  sub: string
  aud: string
  /** The one whose access ends; undefined: that of every agent of this user. */
  agent?: Agent
  /** NumericDate by the issuer's clock. A later ID-JAG is a new delegation (GR-10). */
  revoked_at: number
}

export type Agent = {
  /** As in `act` of its ID-JAGs. */
  sub: string
  /** As in `client_id` of its ID-JAGs; several agents may have the same one. */
  client_id?: string
}

/** Of an ID-JAG: what an app has to keep with what it gave, to find it again by an event. */
export type Basis = { iss: string; sub: string; iat: number; client_id?: unknown; act?: unknown }

/**
 * Seconds that the clocks of one issuer's replicas may lie apart: an ID-JAG may have been minted before an
 * event and say that it was later. One minted so soon after it is refused too.
 */
export const SPREAD = 5

/** Whether what was given on the word of this ID-JAG is to be dropped. In doubt it is. */
export const reaches = (revocation: Revocation, basis: Basis): boolean =>
  revocation.iss === basis.iss &&
  revocation.sub === basis.sub &&
  !(basis.iat > revocation.revoked_at + SPREAD) &&
  (revocation.agent === undefined || isOf(revocation.agent, basis))

/**
 * By whom it says acts, which is one agent, and only without that by `client_id`. Who is further inside
 * counts as well: that an agent was not the last to act spares nothing it was given.
 */
function isOf(agent: Agent, { act, client_id }: Basis): boolean {
  const actors = actorsIn(act)
  if (actors.length > 0) return actors.includes(agent.sub)
  return !isText(agent.client_id) || !isText(client_id) || client_id === agent.client_id
}

function actorsIn(act: unknown): string[] {
  const actors: unknown[] = []
  for (let at = act; isObject(at); at = at.act) actors.push(at.sub)
  return actors.filter(isText)
}

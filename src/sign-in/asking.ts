import type { Deps } from '../deps.ts'
import { readQuery } from '../http/form.ts'
import { findActiveAgentName } from './queries.ts'

/** What the sign-in leads to, as far as our own pages go. */
export function purposeOf(returnTo: string | undefined): string | undefined {
  if (returnTo === undefined || /^\/account(?![^/?])/.test(returnTo)) return 'to see your agents'
  return returnTo.startsWith('/consent/') ? 'to answer what an agent asks' : undefined
}

/** Whose name the sign-in page shows: of the client whose authorization request it interrupts, if we know it. */
export async function findAsking(
  deps: Pick<Deps, 'db'>,
  returnTo: string | undefined,
): Promise<string | undefined> {
  if (!returnTo?.startsWith('/oauth2/authorize?')) return undefined
  const { client_id } = readQuery(returnTo)
  if (typeof client_id !== 'string' || !/^agt_[A-Za-z0-9_-]{22}$/.test(client_id)) return undefined
  return findActiveAgentName(deps.db, client_id)
}

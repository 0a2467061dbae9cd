import type { Deps } from '../deps.ts'
import { readQuery } from '../http/form.ts'
import { findActiveAgentName } from './queries.ts'

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

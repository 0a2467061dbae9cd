/**
 * Agents that act for the client (RFC 8693 §1.1, TX-19). Each proves itself by a token of its own, of a
 * `typ` that nothing else has; the token of an actor's actor carries that of the actor it acts for:
 *
 *   client ◀─ acts for ── B's token ◀─ in ── C's token   →   act: {C, act: {B, act: {client}}}
 *
 *  1. Every token names the client that may present it; somebody else cannot.
 *  2. Every pair needs an administrator's permission, for this user and this audience.
 *  3. What is said of actors comes from these tokens alone (IJ-12).
 *  4. A block of an actor stands in the way like one of the client.
 */
import { hash } from 'node:crypto'
import {
  type AgentFacts,
  assertionKeys,
  clientIdOf,
  hasAssertionClaims,
  mayCome,
} from '../agents/authenticate.ts'
import { recogniseClient } from '../agents/recognise.ts'
import type { Presented } from '../agents/spend.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import { type DecodedJws, decodeJws, verifyJws } from '../oauth/jws.ts'
import { TYP } from '../oauth/names.ts'
import { fromNumericDate } from '../oauth/numeric-date.ts'
import type { ActorFacts } from '../policy/facts.ts'
import {
  type ActorRow,
  findActorIds,
  findActors,
  findBlockedActors,
  findPermissions,
  type Permission,
} from './actor-queries.ts'
import { faultOfAgent } from './client.ts'
import { hasKeyFor, mayAskFor } from './recognise-caller.ts'

/** As the recording statement holds it once more. */
export type VerifiedActor = ActorFacts & {
  version: string
  owner_id: string
  credential_id: string | null
}

/** Actors of one exchange, beside the client. */
const MOST_ACTORS = 3

/** What the permissions have to be for: this user, and this audience if there is such. */
type About = { user_id: string; audience_id: string | null }

/** @returns the actors, newest first, and what is spent by having been presented */
export async function verifyActors(
  deps: Deps,
  token: string,
  client: AgentFacts,
  of: About,
): Promise<{ actors: VerifiedActor[]; presented: Presented[] } | { refused: Reason }> {
  const chain = readChain(token)
  const names = chain?.map(({ payload }) => payload.sub as string)
  const ids = names && (await findActorIds(deps.db, names))
  const presented: Presented[] = []
  const actors = await judgeActors(deps, ids, client, of, async (row, index) => {
    const jws = chain?.[index] as DecodedJws
    const credential = await verifyActor(deps, jws, row, clientIdOf(client))
    if (credential !== undefined) presented.push(presentedOf(jws, row))
    return credential
  })
  return 'refused' in actors ? actors : { actors, presented }
}

/**
 * Who acts for the client, newest first, as the records say.
 * @param ids undefined for what is no chain
 * @param prove the credential by which an actor has proved itself; undefined when it has not
 */
export async function judgeActors(
  deps: Deps,
  ids: readonly string[] | undefined,
  client: AgentFacts,
  of: About,
  prove: (row: ActorRow, index: number) => Promise<{ credential_id: string | null } | undefined>,
): Promise<VerifiedActor[] | { refused: Reason }> {
  const { enabled, actors: rows } = await findActors(deps.db, {
    tenant_id: client.tenant_id,
    client_id: client.id,
    ids: ids ?? [],
  })
  if (!enabled) return { refused: 'actor_tokens_off' }
  if (ids === undefined || new Set([...ids, client.id]).size !== ids.length + 1) {
    return { refused: 'bad_actor_token' }
  }
  const about = { ...of, actor_ids: ids }
  const permissions = await findPermissions(deps.db, about, deps.now())
  const blocked = await findBlockedActors(deps.db, about, deps.now())
  const actors: VerifiedActor[] = []
  for (const [index, actor_id] of ids.entries()) {
    const row = rows.find(({ id }) => id === actor_id)
    const credential = row && (await prove(row, index))
    if (row === undefined || credential === undefined) return { refused: 'bad_actor_token' }
    if (faultOfAgent(row, deps.now()) !== undefined || !mayCome(row, deps.now())) {
      return { refused: 'actor_inactive' }
    }
    const agent_id = ids[index + 1] ?? client.id
    actors.push({
      id: row.id,
      version: row.version,
      owner_id: row.owner_id ?? '',
      credential_id: credential.credential_id,
      permission: blocked.includes(row.id)
        ? undefined
        : permissionOf(permissions, { agent_id, actor_id }),
    })
  }
  return actors
}

/** The token and those within it, newest first; undefined when one is none, or they are too many. */
function readChain(token: string): DecodedJws[] | undefined {
  const chain: DecodedJws[] = []
  let next: unknown = token
  while (next !== undefined) {
    const jws = typeof next === 'string' ? decodeJws(next) : undefined
    if (jws === undefined || typeof jws.payload.sub !== 'string') return undefined
    if (jws.payload.sub.includes('\0') || chain.length === MOST_ACTORS) return undefined
    chain.push(jws)
    next = jws.payload.actor_token
  }
  return chain
}

/** The credential it was signed with; undefined unless all of it holds. */
async function verifyActor(deps: Deps, jws: DecodedJws, row: ActorRow, presentedBy: string) {
  const { header, payload } = jws
  if (header.typ !== TYP.actorToken || payload.client_id !== presentedBy) return undefined
  if (!hasAssertionClaims(jws, clientIdOf(row), deps.config.issuer, deps.now())) return undefined
  const keys = await assertionKeys(deps, await withOwnDocument(deps, row, jws), jws)
  return keys.find(({ alg, key }) => verifyJws(jws, alg, key))
}

/** An actor that is known by a URL has its keys from there. */
async function withOwnDocument(deps: Deps, row: ActorRow, { header }: DecodedJws) {
  if (row.client_metadata_url === null) return row
  const named = await recogniseClient(deps, {
    client_id: row.client_metadata_url,
    serves: (document) => hasKeyFor(header, document),
    holds: () => false,
    mayAsk: mayAskFor(deps),
  })
  return 'refused' in named ? row : { ...row, document: named.document }
}

/** Several may stand for one pair: together they permit what any of them does. */
function permissionOf(
  permissions: readonly Permission[],
  { agent_id, actor_id }: { agent_id: string; actor_id: string },
): ActorFacts['permission'] {
  const mine = permissions.filter((one) => one.agent_id === agent_id && one.actor_id === actor_id)
  if (mine.length === 0) return undefined
  const unbounded = mine.some(({ scopes }) => scopes === null)
  return {
    ids: mine.map(({ id }) => id),
    scopes: unbounded ? null : [...new Set(mine.flatMap(({ scopes }) => scopes ?? []))],
  }
}

/** In the same space as the agent's client assertions: one `jti` serves once, for whatever. */
function presentedOf({ payload }: DecodedJws, { id }: ActorRow): Presented {
  const { jti, exp } = payload as { jti: string; exp: number }
  return {
    digest: hash('sha256', `${id}\n${jti}`, 'buffer'),
    expires_at: fromNumericDate(Math.ceil(exp) + 120),
  }
}

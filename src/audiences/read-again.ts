/**
 * What the documents of an audience say by now (DR-10).
 *
 *   that they are its own, or its resource lists another server that says who it is → what was found
 *   that they are somebody else's → a dispute. Of such a document the name counts and nothing more; what there is
 *                                   to approve is what the one that was named says of itself
 *   nothing, for they cannot be read or make no sense → Undiscoverable
 */
import type { Deps } from '../deps.ts'
import { OutboundError } from '../http/outbound.ts'
import { sameServer } from '../oauth/metadata-location.ts'
import { type Dispute, foundOf } from './discovery.ts'
import type { Claim } from './discovery-queries.ts'
import { SpeaksOfAnother, Undiscoverable } from './read-document.ts'
import { type ChooseServer, type Walked, walk, walkToServer } from './walk.ts'

type Surroundings = Pick<Deps, 'outbound' | 'now' | 'config'>
type Disputed = Omit<Dispute, 'obstacle'>
export type Reading = { walked: Walked; dispute?: Dispute }

/** @throws {Undiscoverable} */
export async function readAgain(deps: Surroundings, claim: Claim): Promise<Reading> {
  const left: Disputed[] = []
  // DR-04: whatever else it lists by now, the one that it is registered by.
  const choose: ChooseServer = async (servers, location) => {
    const [first = ''] = servers
    const own = servers.find((server) => sameServer(server, claim.found.issuer))
    if (own === undefined && location !== undefined && isNews(claim, first)) {
      const from = claim.found.issuer
      left.push({ member: 'authorization_servers', location, from, to: first })
    }
    return own ?? first
  }
  try {
    const walked = await walk(deps, claim.url, choose, claim.locations)
    // Or whoever also speaks for the address itself would seem to have taken the place of its servers.
    if (claim.has_resource && walked.documents.every(({ kind }) => kind !== 'protected_resource')) {
      throw new Undiscoverable('the metadata of the resource are no longer where they were')
    }
    return { walked }
  } catch (error) {
    if (error instanceof SpeaksOfAnother) return hearOther(deps, claim, error)
    const [disputed] = left
    if (!(error instanceof Undiscoverable) || disputed === undefined) throw error
    return unproven(claim, disputed, error)
  }
}

/** Not where the audience's own server was not listed before either, but this one was: as after an approval. */
function isNews({ found, listed }: Claim, server: string): boolean {
  const before = Array.isArray(listed) ? listed.filter((one) => typeof one === 'string') : []
  const had = (issuer: string) => before.some((one) => sameServer(one, issuer))
  return had(found.issuer) || !had(server)
}

async function hearOther(
  deps: Surroundings,
  claim: Claim,
  { said, read, resource, message }: SpeaksOfAnother,
): Promise<Reading> {
  const { found, locations } = claim
  if (said.member === 'resource') return unproven(claim, said, new Undiscoverable(message))
  // Approved already, while what led to it names the one of before.
  const isOwn = sameServer(said.to, found.issuer)
  const disputed = { ...said, from: found.issuer }
  try {
    const walked = await walkToServer(deps, said.to, resource, isOwn ? locations : [])
    const documents = [...walked.documents.slice(0, -1), read, ...walked.documents.slice(-1)]
    if (isOwn) return { walked: { ...walked, documents } }
    if (walked.found.profile === null && found.profile !== null) throw new Undiscoverable(UNFIT)
    return { walked: { ...walked, documents }, dispute: { ...disputed, obstacle: null } }
  } catch (error) {
    if (!(error instanceof Undiscoverable)) throw error
    if (!isOwn) return unproven(claim, disputed, error)
    if (error instanceof SpeaksOfAnother) return hearOther(deps, claim, error)
    throw error
  }
}

const UNFIT = 'it does not say that it takes ID-JAGs'

/** @throws {Undiscoverable} where it awaits approval already, and is merely away */
function unproven(claim: Claim, disputed: Disputed, why: Undiscoverable): Reading {
  const isAway = why.cause instanceof OutboundError
  if (isAway && claim.proposed !== null && sameServer(claim.proposed, disputed.to)) throw why
  const dispute = { ...disputed, obstacle: why.message.slice(0, 1000) }
  return { walked: { found: foundOf(dispute, claim.found), documents: [] }, dispute }
}

/**
 * Verifying walks the chain from its first seal: hashes, roots, signatures, every member row as it is now and
 * whether that seal was the one to close it, and every row that claims to have been written before a seal
 * without being under it. It reads one snapshot of the database and holds one stretch of the chain at a time.
 *
 * What it cannot see by itself is a chain cut at its end, or written anew by whoever holds the database and
 * a seal key: for that somebody outside keeps a head and gives it back.
 */
import type { Transaction } from 'kysely'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { type KnownHead, NO_HASH, type SealHead } from './chain.ts'
import { HASH_LENGTH, merkleRoot } from './merkle.ts'
import {
  countOutside,
  findNow,
  findOutside,
  listClosed,
  listMembers,
  listSeals,
  type SealedTable,
  useUtc,
} from './seal-queries.ts'
import { type SealKeys, type StoredSeal, sealIsGenuine } from './seal-signature.ts'
import { isSnapshot } from './snapshot.ts'
import {
  type Closed,
  isWritten,
  openWindows,
  strayWindows,
  type Window,
  windowBetween,
  windowsToSeal,
} from './window.ts'

export type Broken = {
  table: SealedTable | 'seals'
  id: string
  kind: 'changed' | 'missing' | 'inserted'
}
export type Verdict = {
  ok: boolean
  /** The last seal that stands, with everything before it. */
  sealed_through: SealHead | null
  unsealed: number
  broken?: Broken
}

/** What is held at a time, at the most: but for one seal, which is always read whole. */
const STRETCH = { seals: 500, rows: 20_000 }

export async function verifyLog(
  { db, keys }: Pick<Deps, 'db' | 'keys'>,
  known?: KnownHead,
  stretch = STRETCH,
): Promise<Verdict> {
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .setAccessMode('read only')
    .execute(async (tx) => {
      await useUtc(tx)
      const walk: Walk = {
        keys: await keys.sealKeys(tx),
        closed: new Map(),
        known,
        windows: [],
        met: new Map(),
      }
      const broken = (await walkChain(tx, walk, stretch)) ?? (await findLoose(tx, walk))
      return {
        ok: broken === undefined,
        sealed_through: walk.whole ?? null,
        unsealed: await countUnsealed(tx),
        ...(broken && { broken }),
      }
    })
}

type Walk = {
  keys: SealKeys
  /** The head that somebody outside knows, until it was met. */
  known: KnownHead | undefined
  /** The last seal met whose rows are as they were. */
  whole?: SealHead
  /** The last seal met. */
  last?: Closed
  /** What seals over the last one's snapshot close. */
  windows: Window[]
  /** By cluster: the last seal met. */
  met: Map<string, Closed>
  /** By cluster: how far rows were searched that claim to be sealed and are not. */
  closed: Map<string, Closed>
}

async function walkChain(
  tx: Transaction<Tables>,
  walk: Walk,
  most: typeof STRETCH,
): Promise<Broken | undefined> {
  for (;;) {
    const seals = await listSeals(tx, walk.last?.position ?? '0', most)
    const windows: Window[][] = []
    for (const [index, seal] of seals.entries()) {
      const sameCluster = walk.last?.cluster === seal.cluster
      // Seals over one snapshot share what its rows claim, so the search waits for the last of them.
      const sameClaim = sameCluster && walk.last?.snapshot === seal.snapshot
      if ((index === 0 && !sameClaim) || !sameCluster) {
        const inserted = await findInserted(tx, walk)
        if (inserted) return inserted
      }
      const fault = judgeSeal(walk, seal)
      if (fault) return fault
      if (!sameClaim) walk.windows = windowsOf(walk, seal)
      windows.push(walk.windows)
      walk.last = seal
      walk.met.set(seal.cluster, seal)
    }
    if (seals.length === 0) return findInserted(tx, walk)
    const fault = await judgeMembers(tx, walk, seals, windows)
    if (fault) return fault
  }
}

/** A seal by itself and in its place. */
function judgeSeal(walk: Walk, seal: StoredSeal): Broken | undefined {
  const expected = Number(walk.last?.position ?? 0) + 1
  if (Number(seal.position) > expected) return sealFault(expected, 'missing')
  const inPlace = seal.previous_hash === (walk.last?.hash ?? NO_HASH)
  if (!inPlace || !sealIsGenuine(walk.keys, seal)) return sealFault(expected, 'changed')
  const { known } = walk
  if (known?.hash === seal.hash && (known.position ?? expected) === expected) walk.known = undefined
  return undefined
}

/** What a seal had to close when it was made, so that no row hides under a later one than its own. */
function windowsOf({ last, met }: Walk, seal: StoredSeal): Window[] {
  const before = last?.cluster === seal.cluster ? [last] : [...met.values()]
  return windowsToSeal(before, seal)
}

/** The rows under some seals that follow one another, each as it is now. */
async function judgeMembers(
  tx: Transaction<Tables>,
  walk: Walk,
  seals: StoredSeal[],
  windows: Window[][],
): Promise<Broken | undefined> {
  const [first, last] = [seals[0], seals.at(-1)]
  if (!first || !last) return undefined
  const members = await listMembers(tx, first.position, last.position)
  let next = 0
  for (const [place, seal] of seals.entries()) {
    const own = members.slice(next, next + seal.row_count)
    next += seal.row_count
    const sound =
      own.length === seal.row_count &&
      own.every(({ position }) => position === seal.position) &&
      seal.leaves.length === seal.row_count * HASH_LENGTH &&
      merkleRoot(seal.leaves).toString('hex') === seal.root
    if (!sound) return sealFault(seal.position, 'changed')
    for (const [index, member] of own.entries()) {
      const { table, id } = member
      if (table === null || id === null) return sealFault(seal.position, 'changed')
      if (member.leaf === null) return { table, id, kind: 'missing' }
      const sealed = seal.leaves.subarray(index * HASH_LENGTH, (index + 1) * HASH_LENGTH)
      if (!member.leaf.equals(sealed)) return { table, id, kind: 'changed' }
      if (!isWritten(member, windows[place] ?? [])) return { table, id, kind: 'inserted' }
    }
    walk.whole = { position: Number(seal.position), at: seal.at, hash: seal.hash }
  }
  return next === members.length ? undefined : sealFault(last.position, 'changed')
}

/** Since the search before: rows of the last seal's cluster that it closed, under none of the seals. */
async function findInserted(tx: Transaction<Tables>, walk: Walk): Promise<Broken | undefined> {
  const { last, closed } = walk
  if (last === undefined) return undefined
  const window = windowBetween(closed.get(last.cluster), last)
  closed.set(last.cluster, last)
  const found = await findOutside(tx, [window], last.position)
  return found && { ...found, kind: 'inserted' }
}

/** What the end of the chain shows: rows of clusters left behind, and a head that was not met. */
async function findLoose(tx: Transaction<Tables>, walk: Walk): Promise<Broken | undefined> {
  const windows = strayWindows([...walk.closed.values()], walk.last, await findNow(tx))
  const stray = await findOutside(tx, windows)
  if (stray) return { ...stray, kind: 'inserted' }
  if (walk.known === undefined) return undefined
  const { position, hash } = walk.known
  return sealFault(position === undefined ? hash : `${position}:${hash}`, 'missing')
}

async function countUnsealed(tx: Transaction<Tables>): Promise<number> {
  // The chain may be broken: what cannot be read closes nothing.
  const closed = (await listClosed(tx)).filter(({ snapshot }) => isSnapshot(snapshot))
  const [last] = closed.toSorted((a, b) => Number(b.position) - Number(a.position))
  return countOutside(tx, openWindows(closed, last, await findNow(tx)))
}

const sealFault = (id: string | number, kind: Broken['kind']): Broken => ({
  table: 'seals',
  id: String(id),
  kind,
})

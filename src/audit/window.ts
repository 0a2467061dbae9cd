/**
 * Which rows a seal closes. A row says which transaction of which cluster wrote it, for transaction ids
 * start over where a dump is restored.
 *
 *  1. A seal closes what its snapshot sees of the database's own cluster and the seal before did not see:
 *     what commits late was still running in the one snapshot, and falls into the next.
 *  2. The first seal in another cluster also closes whatever the log brought along unsealed. Later seals
 *     there ask about rows of their own cluster alone; so a row that turns up afterwards under a foreign
 *     cluster was slipped in.
 *  3. Back in a cluster of earlier, its rows count from its own last seal, less what was sealed elsewhere.
 */
import { readSnapshot, type Snapshot, sees } from './snapshot.ts'

/** What the snapshot sees of the cluster's rows is under a seal up to this position. */
export type Closed = { position: string; cluster: string; snapshot: string; hash: string }

/** Where and when the database is. */
export type Now = { cluster: string; snapshot: string }

/**
 * Rows by what wrote them: `after` leaves out what that snapshot saw, `upTo` what that one does not see.
 * Members of seals behind `behind` are left out too.
 */
export type Window = {
  cluster: string | { not: string[] }
  after?: Snapshot
  upTo?: Snapshot
  behind: string
}

/** What the next seal closes. `closed`: the last seal alone, or those of all clusters when it was in another. */
export function windowsToSeal(closed: Closed[], now: Now): Window[] {
  const upTo = readSnapshot(now.snapshot)
  const last = closed.find(({ cluster }) => cluster === now.cluster)
  const own: Window = { ...(last ? windowAfter(last) : allOf(now.cluster)), upTo }
  if (last !== undefined && closed.length === 1) return [own]
  const others = closed.filter((each) => each !== last)
  return [own, ...others.map(windowAfter), allBut([now.cluster, ...others.map(clusterOf)])]
}

/** Whether a row that this transaction of this cluster wrote is among those. */
export const isWritten = (row: { cluster: string; xid: string }, windows: Window[]): boolean =>
  windows.some(
    ({ cluster, after, upTo }) =>
      (typeof cluster === 'string'
        ? cluster === row.cluster
        : !cluster.not.includes(row.cluster)) &&
      !(after && sees(after, row.xid)) &&
      (!upTo || sees(upTo, row.xid)),
  )

/** What is under no seal yet, and need not be. */
export function openWindows(closed: Closed[], last: Closed | undefined, now: Now): Window[] {
  if (last === undefined) return [allBut([])]
  return [...new Set([last.cluster, now.cluster])].map((cluster) => {
    const seal = closed.find((each) => each.cluster === cluster)
    return seal ? windowAfter(seal) : allOf(cluster)
  })
}

/** What nobody sealed although the first seal in another cluster had to: such rows came after it. */
export function strayWindows(closed: Closed[], last: Closed | undefined, now: Now): Window[] {
  if (last === undefined) return []
  const strange = closed.filter(
    ({ cluster }) => cluster !== last.cluster && cluster !== now.cluster,
  )
  const known = new Set([...closed.map(clusterOf), now.cluster])
  return [...strange.map(windowAfter), allBut([...known])]
}

/** What a seal closed of its own cluster since the one before it there. */
export const windowBetween = (before: Closed | undefined, seal: Closed): Window => ({
  ...(before ? windowAfter(before) : allOf(seal.cluster)),
  upTo: readSnapshot(seal.snapshot),
})

const clusterOf = ({ cluster }: { cluster: string }) => cluster
const allOf = (cluster: string): Window => ({ cluster, behind: '0' })
const allBut = (not: string[]): Window => ({ cluster: { not }, behind: '0' })

export const windowAfter = ({ cluster, snapshot, position }: Closed): Window => ({
  cluster,
  after: readSnapshot(snapshot),
  behind: position,
})

/**
 * Sealing closes what has been committed since the last seal: a Merkle root over the rows, the previous
 * seal's hash and a signature of its own purpose.
 *
 *  1. One replica seals at a time: an advisory lock, held to the end of the transaction.
 *  2. Which rows belong to a seal is decided by its snapshot (window.ts), never by what a statement happens
 *     to see; the lock comes first, so that no seal is ever missed in deciding.
 *  3. More rows than fit one seal become several over the same snapshot. There are no empty seals.
 */
import type { Transaction } from 'kysely'
import { signLasting } from '../db/sign-lasting.ts'
import type { Tables } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { TYP } from '../oauth/names.ts'
import { NO_HASH, type SealContent, type SealHead, sealHash } from './chain.ts'
import { merkleRoot } from './merkle.ts'
import { recordMove } from './move.ts'
import {
  fetchMembers,
  findLastSeal,
  findNow,
  listClosed,
  lockSealing,
  type Member,
  openMembers,
  useUtc,
} from './seal-queries.ts'
import { readSnapshot } from './snapshot.ts'
import { windowsToSeal } from './window.ts'

/** Rows under one seal at the most. */
const MOST_ROWS = 20_000

/** The new heads: none when there was nothing to close, or another replica is at it. */
export async function seal(
  deps: Pick<Deps, 'db' | 'keys' | 'now'>,
  mostRows = MOST_ROWS,
): Promise<SealHead[]> {
  const attempt = () =>
    deps.db
      .transaction()
      // What is read after the lock must not be older than the lock.
      .setIsolationLevel('read committed')
      .execute(async (tx) => ((await lockSealing(tx)) ? sealOpenRows(deps, tx, mostRows) : []))
  const heads = await attempt()
  // The event that tells of a move has to be committed before a snapshot sees it.
  return heads === 'moved' ? seal(deps, mostRows) : heads
}

async function sealOpenRows(
  deps: Pick<Deps, 'keys' | 'now'>,
  tx: Transaction<Tables>,
  mostRows: number,
): Promise<SealHead[] | 'moved'> {
  await useUtc(tx)
  const last = await findLastSeal(tx)
  const now = await findNow(tx)
  if (last && (await recordMove(tx, last, now, deps.now()))) return 'moved'
  if (last?.cluster === now.cluster) requireLater(now.snapshot, last.snapshot)
  await openMembers(
    tx,
    windowsToSeal(last?.cluster === now.cluster ? [last] : await listClosed(tx), now),
  )

  const heads: SealHead[] = []
  let previous = { position: Number(last?.position ?? 0), hash: last?.hash ?? NO_HASH }
  for (;;) {
    const members = await fetchMembers(tx, mostRows)
    if (members.length === 0) return heads
    const begun = {
      position: previous.position + 1,
      at: deps.now().toISOString(),
      snapshot: now.snapshot,
      cluster: now.cluster,
      previous_hash: previous.hash,
    }
    const head = await appendSeal(deps, tx, begun, members)
    heads.push(head)
    previous = head
  }
}

/** Within one cluster transaction ids only grow; where they do not, a copy of it lives a second life. */
function requireLater(snapshot: string, before: string): void {
  if (BigInt(readSnapshot(snapshot).end) < BigInt(readSnapshot(before).end)) {
    throw new Error('transaction ids went back within one cluster: what is sealed cannot be told')
  }
}

async function appendSeal(
  { keys }: Pick<Deps, 'keys'>,
  tx: Transaction<Tables>,
  begun: Omit<SealContent, 'root' | 'row_count'>,
  members: Member[],
): Promise<SealHead> {
  const leaves = Buffer.concat(members.map(({ leaf }) => leaf))
  const content = {
    ...begun,
    root: merkleRoot(leaves).toString('hex'),
    row_count: members.length,
  }
  const hash = sealHash(content)
  const { jws, kid } = await signSeal(keys, tx, content)
  await tx
    .insertInto('seals')
    .values({
      position: String(content.position),
      at: new Date(content.at),
      snapshot: content.snapshot,
      cluster: content.cluster,
      previous_hash: Buffer.from(content.previous_hash, 'hex'),
      root: Buffer.from(content.root, 'hex'),
      row_count: content.row_count,
      row_tables: members.map(({ table }) => table),
      row_ids: members.map(({ id }) => id),
      leaves,
      kid,
      signature: jws,
      hash: Buffer.from(hash, 'hex'),
    })
    .execute()
  return { position: content.position, at: new Date(content.at), hash }
}

/** Not by a key that was rotated or dropped, of which this replica may not have heard yet. */
async function signSeal(keys: Deps['keys'], tx: Transaction<Tables>, content: object) {
  const sign = () => keys.sign('seal', 'ES256', TYP.seal, content)
  const signed = await signLasting(keys, tx, sign, ({ kid }) => [kid])
  if (signed) return signed
  throw new Error('the sealing keys kept changing: the next round seals')
}

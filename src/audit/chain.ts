import { createHash } from 'node:crypto'
import { HASH_LENGTH } from './merkle.ts'

/** What a seal's hash and its signature cover, in words that travel: hashes in hexadecimal. */
export type SealContent = {
  /** 1, 2, 3 … without a gap. */
  position: number
  at: string
  snapshot: string
  /** `system_identifier` of the database cluster that the snapshot speaks of. */
  cluster: string
  previous_hash: string
  root: string
  row_count: number
}

/** A place in the chain, by which somebody outside can hold us to it. */
export type SealHead = { position: number; at: Date; hash: string }

/** What somebody outside kept of a head. */
export type KnownHead = { hash: string; position?: number }

/** What the first seal names as the one before. */
export const NO_HASH = '00'.repeat(HASH_LENGTH)

export function sealHash(seal: SealContent): string {
  const { position, at, snapshot, cluster, previous_hash, root, row_count } = seal
  const text = JSON.stringify([position, at, snapshot, cluster, previous_hash, root, row_count])
  return createHash('sha256').update('agent-idp seal\n').update(text).digest('hex')
}

/** Whether signed claims say what the seal says, member by member. */
export function sameContent(claims: Record<string, unknown>, seal: SealContent): boolean {
  return Object.entries(seal).every(([name, value]) => claims[name] === value)
}

/** `<hash>` or `<position>:<hash>`, as `sealed_through` gave it; undefined for anything else. */
export function readKnownHead(text: string): KnownHead | undefined {
  const [, position, hash] = /^(?:([1-9]\d{0,14}):)?([0-9a-f]{64})$/i.exec(text) ?? []
  if (hash === undefined) return undefined
  const known = { hash: hash.toLowerCase() }
  return position === undefined ? known : { ...known, position: Number(position) }
}

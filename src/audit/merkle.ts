import { createHash } from 'node:crypto'

/** Bytes of a leaf and of a root: SHA-256. */
export const HASH_LENGTH = 32

const NODE = Buffer.from([1])

/**
 * The root of a Merkle tree (RFC 9162 §2.1.1) over leaf hashes that stand one after another. The leaves were
 * hashed behind a zero byte, so that no node can pass for a leaf.
 */
export function merkleRoot(leaves: Buffer): Buffer {
  if (leaves.length === 0 || leaves.length % HASH_LENGTH !== 0) {
    throw new RangeError('a Merkle tree needs whole leaves, and at least one')
  }
  // Perfect subtrees of falling size, as the bits of a binary counter; equal neighbours become one.
  const subtrees: { size: number; root: Buffer }[] = []
  for (let start = 0; start < leaves.length; start += HASH_LENGTH) {
    let tree = { size: 1, root: leaves.subarray(start, start + HASH_LENGTH) }
    for (let left = subtrees.at(-1); left?.size === tree.size; left = subtrees.at(-1)) {
      subtrees.pop()
      tree = { size: left.size * 2, root: node(left.root, tree.root) }
    }
    subtrees.push(tree)
  }
  return subtrees.map(({ root }) => root).reduceRight((right, left) => node(left, right))
}

const node = (left: Buffer, right: Buffer): Buffer =>
  createHash('sha256').update(NODE).update(left).update(right).digest()

import { randomBytes } from 'node:crypto'

/** Every tenant-less request speaks of this one; the first migration makes it. */
export const DEFAULT_TENANT = 'ten_AAAAAAAAAAAAAAAAAAAAAA'

export type IdPrefix =
  | 'ten'
  | 'usr'
  | 'agt'
  | 'crd'
  | 'aud'
  | 'ent'
  | 'dlg'
  | 'int'
  | 'ses'
  | 'rtf'
  | 'adm'
  | 'rev'
  | 'apm'
  | 'blk'
  | 'cmr'
  | 'tis'
  | 'dlv'
  | 'rcv'
  | 'str'

/** A prefix and 128 random bits. */
export const newId = (prefix: IdPrefix): string => `${prefix}_${random128()}`

/** An id of an append-only record: milliseconds in hexadecimal, then 128 random bits, so that rows sort by time. */
export const newTimeOrderedId = (prefix: '' | 'evt_', at: Date): string =>
  prefix + at.getTime().toString(16).padStart(12, '0') + random128()

/** The lowest time-ordered id of an instant, to filter by time on the id's index. */
export const lowestIdAt = (prefix: '' | 'evt_', at: Date): string =>
  prefix + Math.max(0, at.getTime()).toString(16).padStart(12, '0')

/** Random bytes are drawn for many ids at once: asking for sixteen costs nearly as much as for thousands. */
const DRAWN = 4_096
let drawn = Buffer.alloc(0)
let used = 0

function random128(): string {
  if (used === drawn.length) {
    drawn = randomBytes(DRAWN)
    used = 0
  }
  used += 16
  return drawn.toString('base64url', used - 16, used)
}

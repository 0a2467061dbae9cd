import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { isNamedByThumbprint, provenBy } from './proof.ts'
import { publicJwk } from './public-jwk.ts'
import { listSealKeys, listVerifyingKeys } from './queries.ts'
import { isPublished, type KeyLife } from './schedule.ts'

type Jwk = Record<string, unknown>
type VerifyingKey = { life: KeyLife; alg: SigningAlg; key: KeyObject; jwk: Jwk }
type Row = Awaited<ReturnType<typeof listVerifyingKeys>>[number]

/** The keys as last read. Never changed in place: a reader sees the one before or the one after. */
export type KeyView = {
  verifying: Map<string, VerifyingKey>
  /** The active key's `kid`, by purpose and algorithm, as `id_jag ES256`. */
  active: Map<string, string>
  /** The keys that sign, and those that will. */
  signing: string[]
  jwks: { body: string; etag: string }
  /** Rows that this server did not make, as far as it can tell: they count for nothing. */
  unproven: string[]
}

/** Reads the keys; what `before` had proved and imported is not proved and imported again. */
export async function loadKeys(
  { db, config }: Pick<Deps, 'db' | 'config'>,
  before?: KeyView,
): Promise<KeyView> {
  const keks = config.keyEncryptionKeys ?? []
  const read = await listVerifyingKeys(db)
  const rows = read.filter((row) => findKnown(before, row) || provenBy(keks, row))
  const unproven = read.filter((row) => !rows.includes(row)).map(({ kid }) => kid)

  const verifying = new Map<string, VerifyingKey>()
  for (const row of rows) {
    const { public_jwk: jwk, proof: _, ...life } = row
    const key = findKnown(before, row)?.key ?? createPublicKey({ key: jwk, format: 'jwk' })
    verifying.set(life.kid, { life, alg: life.alg as SigningAlg, key, jwk })
  }
  const rowsOf = (...statuses: KeyLife['status'][]) =>
    rows.filter(({ status }) => statuses.includes(status))
  const active = new Map(
    rowsOf('active').map(({ kid, purpose, alg }) => [`${purpose} ${alg}`, kid]),
  )
  const signing = rowsOf('active', 'next').map(({ kid }) => kid)
  const published = [...verifying.values()].filter(({ life }) => isPublished(life))
  return { verifying, active, signing, jwks: writeJwks(published), unproven }
}

/** The public keys that seals may be verified with, read by `db`: removed ones too. */
export async function loadSealKeys(
  db: Db,
  keks: Buffer[],
  known: KeyView,
): Promise<Map<string, KeyObject>> {
  const keys = new Map<string, KeyObject>()
  for (const row of await listSealKeys(db)) {
    const { kid, public_jwk: jwk } = row
    const key = findKnown(known, row)?.key
    if (key) keys.set(kid, key)
    else if (provenBy(keks, row)) keys.set(kid, createPublicKey({ key: jwk, format: 'jwk' }))
  }
  return keys
}

/** The very key, proved before: it stays so when it was proved anew under a key that is not known here yet. */
function findKnown(
  before: KeyView | undefined,
  row: Pick<Row, 'kid' | 'purpose' | 'alg' | 'public_jwk'>,
): VerifyingKey | undefined {
  const known = before?.verifying.get(row.kid)
  const same = known?.life.purpose === row.purpose && known.alg === row.alg
  return same && isNamedByThumbprint(row) ? known : undefined
}

const ORDER = ['active', 'next', 'retired']

/** The same text from every replica that has read the same rows. */
function writeJwks(keys: VerifyingKey[]): KeyView['jwks'] {
  const rank = ({ life }: VerifyingKey) =>
    `${ORDER.indexOf(life.status)} ${life.purpose} ${life.alg} ${life.kid}`
  const sorted = keys.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1))
  const body = JSON.stringify({ keys: sorted.map(({ jwk, alg }) => publicJwk(jwk, alg)) })
  return { body, etag: `"${createHash('sha256').update(body).digest('base64url')}"` }
}

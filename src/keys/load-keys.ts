import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { SigningAlg } from './key-ring.ts'
import { KeyEncryptionError, openPrivateKey } from './private-key-envelope.ts'
import { isNamedByThumbprint, provenBy } from './proof.ts'
import { publicJwk } from './public-jwk.ts'
import { listPrivateKeys, listSealKeys, listVerifyingKeys } from './queries.ts'
import { removeRetired } from './remove-retired.ts'
import { isPublished, type KeyLife } from './schedule.ts'

type Jwk = Record<string, unknown>
type VerifyingKey = { life: KeyLife; alg: SigningAlg; key: KeyObject; jwk: Jwk }
type ActiveKey = { kid: string; privateKey: KeyObject }

/** The keys as last read. Never changed in place: a reader sees the one before or the one after. */
export type KeyView = {
  verifying: Map<string, VerifyingKey>
  /** By purpose and algorithm, as `id_jag ES256`. */
  active: Map<string, ActiveKey>
  jwks: { body: string; etag: string }
  /** Why an active key is missing above; it is in the JWKS all the same. */
  faults: KeyEncryptionError[]
  /** Rows that this server did not make, as far as it can tell: they count for nothing. */
  unproven: string[]
}

/**
 * Reads the keys; what `before` had proved and imported is not proved and imported again. Drops retired keys
 * whose time is over.
 */
export async function loadKeys(
  deps: Pick<Deps, 'db' | 'config' | 'now'>,
  keks: Buffer[],
  before?: KeyView,
): Promise<KeyView> {
  const readProven = async () => {
    const read = await listVerifyingKeys(deps.db)
    const proven = read.filter((row) => findKnown(before, row) || provenBy(keks, row))
    return { read, proven }
  }
  let rows = await readProven()
  if (await removeRetired(deps, rows.proven)) rows = await readProven()
  const unproven = rows.read.filter((row) => !rows.proven.includes(row)).map(({ kid }) => kid)

  const verifying = new Map<string, VerifyingKey>()
  for (const row of rows.proven) {
    const { public_jwk: jwk, proof: _, ...life } = row
    const key = findKnown(before, row)?.key ?? createPublicKey({ key: jwk, format: 'jwk' })
    verifying.set(life.kid, { life, alg: life.alg as SigningAlg, key, jwk })
  }
  const { active, faults } = await loadActive(deps, keks, rows.proven, before)
  const now = deps.now()
  const published = [...verifying.values()].filter(({ life }) =>
    isPublished(life, now, deps.config),
  )
  return { verifying, active, jwks: writeJwks(published), faults, unproven }
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

type Proved = Pick<
  Awaited<ReturnType<typeof listVerifyingKeys>>[number],
  'kid' | 'purpose' | 'alg' | 'public_jwk'
>

/** The very key, proved before: it stays so when it was proved anew under a key that is not known here yet. */
function findKnown(before: KeyView | undefined, row: Proved): VerifyingKey | undefined {
  const known = before?.verifying.get(row.kid)
  const same = known?.life.purpose === row.purpose && known.alg === row.alg
  return same && isNamedByThumbprint(row) ? known : undefined
}

async function loadActive(
  { db }: Pick<Deps, 'db'>,
  keks: Buffer[],
  rows: KeyLife[],
  before?: KeyView,
): Promise<Pick<KeyView, 'active' | 'faults'>> {
  const active = new Map<string, ActiveKey>()
  const faults: KeyEncryptionError[] = []
  const strange: string[] = []
  for (const { kid, purpose, alg, status } of rows) {
    if (status !== 'active') continue
    const known = before?.active.get(`${purpose} ${alg}`)
    if (known?.kid === kid) active.set(`${purpose} ${alg}`, known)
    else strange.push(kid)
  }
  if (strange.length === 0) return { active, faults }
  for (const row of await listPrivateKeys(db, strange)) {
    try {
      const privateKey = openPrivateKey(keks, row, row.private_key ?? '')
      active.set(`${row.purpose} ${row.alg}`, { kid: row.kid, privateKey })
    } catch (error) {
      if (!(error instanceof KeyEncryptionError)) throw error
      faults.push(error)
    }
  }
  return { active, faults }
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

import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import type { Deps } from '../deps.ts'
import type { SigningAlg } from './key-ring.ts'
import { KeyEncryptionError, openPrivateKey } from './private-key-envelope.ts'
import { publicJwk, thumbprint } from './public-jwk.ts'
import { listPrivateKeys, listVerifyingKeys } from './queries.ts'
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
  /** Why an active key is missing above. The JWKS is complete all the same. */
  faults: KeyEncryptionError[]
}

/** Reads the keys; what `before` had imported is not imported again. Drops retired keys whose time is over. */
export async function loadKeys(
  deps: Pick<Deps, 'db' | 'config' | 'now'>,
  keks: Buffer[],
  before?: KeyView,
): Promise<KeyView> {
  let rows = await listVerifyingKeys(deps.db)
  if (await removeRetired(deps, rows)) rows = await listVerifyingKeys(deps.db)

  const verifying = new Map<string, VerifyingKey>()
  for (const { public_jwk: jwk, ...life } of rows) {
    const key = before?.verifying.get(life.kid)?.key ?? importPublicKey(life.kid, jwk)
    verifying.set(life.kid, { life, alg: life.alg as SigningAlg, key, jwk })
  }
  const { active, faults } = await loadActive(deps, keks, rows, before)
  const now = deps.now()
  const published = [...verifying.values()].filter(({ life }) =>
    isPublished(life, now, deps.config),
  )
  return { verifying, active, jwks: writeJwks(published), faults }
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

function importPublicKey(kid: string, jwk: Jwk): KeyObject {
  if (thumbprint(jwk) !== kid) {
    throw new Error(`The public key of signing key ${kid} is not the one it was made with`)
  }
  return createPublicKey({ key: jwk, format: 'jwk' })
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

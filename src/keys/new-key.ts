import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { proveKey } from './proof.ts'
import { thumbprint } from './public-jwk.ts'
import { confirmPublished, insertKeys, listLongestTokens } from './queries.ts'
import { type KeySlot, publishedAt, tokenLifetime } from './schedule.ts'

type Surroundings = Pick<Deps, 'custody' | 'config' | 'log'>

/** A key that is made and that nobody has been told of. */
export type NewKey = Awaited<ReturnType<typeof newKey>>

/** `first`: nothing was served before it, so nothing is cached, and it counts as published at once. */
export type Birth = { status: 'next' | 'active'; first?: boolean }

/**
 * Makes keys for these slots and hands them on. It may take long, in hardware most of all: nothing that others
 * wait for is to be held meanwhile. Those that `use` does not return are destroyed, and all are if it fails.
 */
export async function withNewKeys(
  deps: Surroundings,
  slots: readonly KeySlot[],
  use: (keys: NewKey[]) => Promise<NewKey[]>,
): Promise<NewKey[]> {
  const made: NewKey[] = []
  let used: NewKey[] = []
  try {
    // One after the other: a token may take seconds for each, and has a time limit on every call.
    for (const slot of slots) made.push(await newKey(deps, slot))
    used = await use(made)
    return used
  } finally {
    for (const key of made) if (!used.includes(key)) await discard(deps, key)
  }
}

/** The last thing of a transaction: nobody sees a key before the commit. `confirm` when that is done. */
export async function bearKeys(
  tx: Db,
  { now, config }: Pick<Deps, 'now' | 'config'>,
  keys: readonly (NewKey & Birth)[],
): Promise<void> {
  const at = now()
  const longest = await listLongestTokens(tx)
  const rows = keys.map(({ first = false, ...key }) => ({
    ...key,
    created_at: at,
    published_at: first ? at : publishedAt(at, config),
    activated_at: key.status === 'active' ? at : null,
    token_lifetime: Math.max(key.token_lifetime, longest.get(`${key.purpose} ${key.alg}`) ?? 0),
  }))
  await insertKeys(tx, rows)
}

/** After the commit: a process that was stopped just before it has published its keys later than it wrote. */
export async function confirmBirth(
  { db, now, config }: Pick<Deps, 'db' | 'now' | 'config'>,
  keys: readonly NewKey[],
): Promise<void> {
  const kids = keys.map(({ kid }) => kid)
  if (kids.length > 0) await confirmPublished(db, kids, publishedAt(now(), config))
}

async function newKey({ custody, config }: Surroundings, slot: KeySlot) {
  const { public_jwk, reference } = await custody.generate(slot)
  const identity = { kid: thumbprint(public_jwk), ...slot }
  return {
    ...identity,
    public_jwk: JSON.stringify(public_jwk),
    private_key: reference,
    proof: proveKey(config.keyEncryptionKeys ?? [], { ...identity, public_jwk }),
    token_lifetime: tokenLifetime(config),
  }
}

async function discard({ custody, log }: Surroundings, key: NewKey): Promise<void> {
  const { kid, purpose, alg, private_key: reference } = key
  await custody
    .destroy({ kid, purpose, alg, reference })
    .catch((err) => log.warn({ err, kid }, 'a key that is not used could not be destroyed'))
}

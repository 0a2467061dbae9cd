import type { Deps } from '../deps.ts'
import { signJws } from '../oauth/jws.ts'
import { ensureKeys } from './ensure-keys.ts'
import type { KeyRing } from './key-ring.ts'
import { type KeyView, loadKeys, loadSealKeys } from './load-keys.ts'
import type { MakeKeyPair } from './new-key.ts'
import { KeyEncryptionError } from './private-key-envelope.ts'
import { isVerifiable, KEY_SLOTS, refreshInterval, replicaMargin } from './schedule.ts'

type Surroundings = Pick<Deps, 'db' | 'config' | 'now' | 'log'> & {
  /** Makes the first keys; tests may hand out made ones. */
  makeKeyPair?: MakeKeyPair
}

/**
 * Opens the keys, and makes them at the first start. What it holds is read again at intervals, so that
 * a rotation by another replica arrives here; a ring that could not look for too long does not sign.
 * @throws {KeyEncryptionError} saying what is wrong with KEY_ENCRYPTION_KEY.
 */
export async function openKeyRing(deps: Surroundings): Promise<KeyRing> {
  const { config, now, log } = deps
  const keks = config.keyEncryptionKeys
  if (!keks?.length) throw new KeyEncryptionError('KEY_ENCRYPTION_KEY is not set')
  await ensureKeys(deps, keks, deps.makeKeyPair)

  const told = new Set<string>()
  const tellUnproven = ({ unproven }: KeyView) => {
    for (const kid of unproven) {
      if (told.has(kid)) continue
      told.add(kid)
      log.error({ kid }, 'no value of KEY_ENCRYPTION_KEY proves this signing key: it is ignored')
    }
  }

  let view = await loadKeys(deps, keks)
  for (const fault of view.faults) throw fault
  tellUnproven(view)
  let readAt = performance.now()
  let closed = false
  let reading: Promise<void> = Promise.resolve()
  let waiting = 0

  const read = async () => {
    const startedAt = performance.now()
    view = await loadKeys(deps, keks, view)
    readAt = startedAt
    for (const err of view.faults) log.error({ err }, 'a signing key could not be opened')
    tellUnproven(view)
  }
  /** A reading that begins after this call, for the one under way may not see what just changed. */
  const refresh = () => {
    waiting++
    const mine = reading.then(read).finally(() => waiting--)
    reading = mine.catch(() => undefined)
    return mine
  }
  let freshening: Promise<void> | undefined
  const freshen = () => {
    freshening ??= refresh().finally(() => {
      freshening = undefined
    })
    return freshening
  }

  const poll = () => {
    if (waiting > 0 || closed) return
    refresh().catch((err) => {
      if (!closed) log.error({ err }, 'signing keys could not be read; still using those of before')
    })
  }
  const timer = setInterval(poll, refreshInterval(config) * 1000).unref()
  const longestUnread = replicaMargin(config) * 1000

  return {
    async sign(purpose, alg, typ, claims) {
      if (performance.now() - readAt > longestUnread) await freshen()
      const active = view.active.get(`${purpose} ${alg}`)
      if (!active) throw new Error(`There is no active ${alg} key for ${purpose}`)
      const { kid, privateKey } = active
      return { jws: signJws({ typ, kid }, claims, alg, privateKey), kid }
    },
    verificationKey(purpose, kid) {
      const found = view.verifying.get(kid)
      if (found?.life.purpose !== purpose) return undefined
      return isVerifiable(found.life, now(), config)
        ? { alg: found.alg, key: found.key }
        : undefined
    },
    sealKeys: (db) => loadSealKeys(db, keks, view),
    jwks: () => view.jwks,
    ready: () => KEY_SLOTS.every(({ purpose, alg }) => view.active.has(`${purpose} ${alg}`)),
    refresh,
    close() {
      closed = true
      clearInterval(timer)
    },
  }
}

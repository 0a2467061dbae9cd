import type { KeyPurpose } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { signingInputOf } from '../oauth/jws.ts'
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { ensureKeys } from './ensure-keys.ts'
import type { KeyRing } from './key-ring.ts'
import { type KeyView, loadKeys, loadSealKeys } from './load-keys.ts'
import { openSigners } from './open-signers.ts'
import { countActive, fingerprint } from './queries.ts'
import {
  isStrange as isStrangeKey,
  isVerifiable,
  nextStep,
  refreshInterval,
  replicaMargin,
  slotsOf,
} from './schedule.ts'

type Surroundings = Pick<Deps, 'db' | 'config' | 'now' | 'log' | 'custody'> & {
  /** Where keys are read: by a connection that no request holds, and that does not wait for long. */
  aside?: Deps['db']
}

/** Milliseconds that a request waits for the keys to be read again. */
const PATIENCE = 1_000

/**
 * Opens the keys, and makes them at the first start. The database is asked at short intervals whether
 * anything about them has changed, so that a rotation by another replica arrives here within a second, with
 * no notification that could be missed (decision 0011). A ring that could not ask for too long does not sign.
 * @param asks false: only when told to, by `refresh`
 * @throws {KeyEncryptionError|CustodyError} saying what is wrong with KEY_ENCRYPTION_KEY or KEY_CUSTODY.
 */
export async function openKeyRing(deps: Surroundings, asks = true): Promise<KeyRing> {
  const { config, log, now } = deps
  await ensureKeys(deps)
  const source = { ...deps, db: deps.aside ?? deps.db }

  const signers = openSigners(source)

  let told: readonly string[] = []
  /** Once, not twice a second. */
  const tell = ({ unproven }: KeyView) => {
    for (const kid of unproven) {
      if (told.includes(kid)) continue
      log.error({ kid }, 'no value of KEY_ENCRYPTION_KEY proves this signing key: it is ignored')
    }
    told = unproven
  }

  let known = await fingerprint(source.db)
  let view = await loadKeys(source)
  signers.keep(view.signing)
  await signers.settled()
  tell(view)
  const signatures = new Map<string, number>()
  let read = instant()
  let failures = 0
  let closed = false

  function instant() {
    return { running: performance.now(), wall: now().getTime() }
  }
  /** By both clocks: one stands still while the machine sleeps, the other may be set back. */
  const age = () => Math.max(performance.now() - read.running, now().getTime() - read.wall)
  const longest = replicaMargin(config) * 1000
  const isRecent = () => age() <= longest
  /** One failure may be of a reading that was under way while the process stood still: that says nothing of now. */
  const isLost = () => failures > 1

  const look = async () => {
    const startedAt = instant()
    try {
      // Before the keys themselves: what changes between the two is then read again the next time.
      const seen = await fingerprint(source.db)
      if (seen !== known) {
        view = await loadKeys(source, view)
        for (const kid of signatures.keys()) if (!view.verifying.has(kid)) signatures.delete(kid)
        tell(view)
        known = seen
      }
      signers.keep(view.signing)
      read = startedAt
      if (isLost() && !closed) log.info('signing keys are read again')
      failures = 0
    } catch (error) {
      failures++
      // Once, not twice a second.
      if (failures === 2 && !closed) {
        log.error({ err: error }, 'signing keys could not be read; still using those of before')
      }
      throw error
    }
  }
  let reading: Promise<void> | undefined
  let following: Promise<void> | undefined
  const begin = () => {
    const mine = look().finally(() => {
      if (reading === mine) reading = undefined
    })
    reading = mine
    return mine
  }
  /** A reading that begins after this call, for the one under way may not see what just changed; shared by all who ask meanwhile. */
  const refresh = () => {
    if (!reading) return begin()
    following ??= reading
      .catch(() => undefined)
      .then(() => {
        following = undefined
        return begin()
      })
    return following
  }
  /** The one under way is good enough, unless it began before the process stood still for a while. */
  const freshen = async () => {
    if (isLost()) return reading ?? begin()
    await (reading ?? begin()).catch(() => undefined)
    if (!isRecent()) await refresh()
  }

  const poll = () => {
    if (!reading && !closed) begin().catch(() => undefined)
  }
  const timer = asks ? setInterval(poll, refreshInterval(config) * 1000).unref() : undefined
  const recently = Promise.resolve()
  const jwks = () => ({
    ...view.jwks,
    stale: !isRecent(),
    expired: age() > Math.max(longest, config.jwksCeiling * 1000),
  })
  const isStrange = (alg: SigningAlg, purpose: KeyPurpose) => {
    const life = view.verifying.get(view.active.get(`${purpose} ${alg}`) ?? '')?.life
    return life === undefined || isStrangeKey(life, now(), config)
  }
  const upToDate = () => (isRecent() ? recently : freshen())

  return {
    async sign(purpose, alg, typ, claims) {
      if (!isRecent()) await freshen()
      const kid = view.active.get(`${purpose} ${alg}`)
      if (kid === undefined) throw new Error(`There is no active ${alg} key for ${purpose}`)
      const found = signers.get(kid)
      const signer = typeof found === 'function' ? found : await found
      const input = signingInputOf({ typ, kid }, claims, alg)
      const made = signer(Buffer.from(input, 'ascii'))
      const signature = Buffer.isBuffer(made) ? made : await made
      signatures.set(kid, (signatures.get(kid) ?? 0) + 1)
      return { jws: `${input}.${signature.toString('base64url')}`, kid }
    },
    algFor(purpose, wanted) {
      const otherwise = purpose === 'id_token' ? 'RS256' : 'ES256'
      const alg = config.signingAlgs.find((known) => known === wanted) ?? otherwise
      return isStrange(alg, purpose) && !isStrange(otherwise, purpose) ? otherwise : alg
    },
    stillSign: async (db, kids) => (await countActive(db, kids)) === new Set(kids).size,
    upToDate,
    verificationKey(purpose, kid) {
      const found = view.verifying.get(kid)
      if (found?.life.purpose !== purpose || !isVerifiable(found.life)) return undefined
      return { alg: found.alg, key: found.key }
    },
    sealKeys: (db) => loadSealKeys(db, config.keyEncryptionKeys ?? [], view),
    jwks,
    async freshJwks() {
      // While the database is known to be away nobody waits for it.
      for (;;) {
        const askedAt = performance.now()
        if (isRecent() || isLost()) break
        await within(PATIENCE, freshen())
        // Much longer than that: the process stood still, and nobody has waited for the database yet.
        if (performance.now() - askedAt < 2 * PATIENCE) break
      }
      return jwks()
    },
    ready: () =>
      slotsOf(config.signingAlgs).every(({ purpose, alg }) =>
        signers.has(view.active.get(`${purpose} ${alg}`) ?? ''),
      ),
    refresh,
    figures() {
      const lives = [...view.verifying.values()].map(({ life }) => life)
      return lives
        .filter(({ status }) => status !== 'removed')
        .map((life) => ({
          ...life,
          next: nextStep(life, lives, config, undefined),
          signatures: signatures.get(life.kid) ?? 0,
        }))
    },
    close() {
      closed = true
      clearInterval(timer)
    },
  }
}

/** Waits for something so many milliseconds, and no matter what becomes of it. */
async function within(milliseconds: number, something: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const long = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  await Promise.race([something.catch(() => undefined), long])
  clearTimeout(timer)
}

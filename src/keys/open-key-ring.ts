import type { KeyPurpose } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { within } from '../http/within.ts'
import { signingInputOf } from '../oauth/jws.ts'
import { REQUIRED_ALGS, type SigningAlg } from '../oauth/signing-alg.ts'
import { CustodyError } from './custody.ts'
import { ensureKeys } from './ensure-keys.ts'
import { keepReading, type Reading } from './keep-reading.ts'
import type { KeyRing } from './key-ring.ts'
import { type KeyView, loadSealKeys } from './load-keys.ts'
import { KeyEndedError, openSigners } from './open-signers.ts'
import { countActive } from './queries.ts'
import { isStrange, isVerifiable, nextStep, slotsOf } from './schedule.ts'
import { createVerifiers } from './verify-own.ts'

type Surroundings = Pick<Deps, 'db' | 'config' | 'now' | 'clockSkew' | 'log' | 'custody'> & {
  /** Where keys are read: by a connection that no request holds, and that does not wait for long. */
  aside?: Deps['db']
}

/** Milliseconds that a request for the key set waits for it to be read again. */
const PATIENCE = 1_000

const recently = Promise.resolve()

/**
 * Opens the keys, and makes them at the first start. A rotation by another replica arrives here within a second;
 * a ring that could not ask for too long does not sign.
 * @param asks false: only when told to, by `refresh`
 * @throws {KeyEncryptionError|CustodyError} saying what is wrong with KEY_ENCRYPTION_KEY or KEY_CUSTODY.
 */
export async function openKeyRing(deps: Surroundings, asks = true): Promise<KeyRing> {
  const { config, log, now } = deps
  await ensureKeys(deps)
  const source = { ...deps, db: deps.aside ?? deps.db }
  const signers = openSigners(source)
  const signatures = new Map<string, number>()
  let told: readonly string[] = []
  const reading = await keepReading(source, asks, ({ verifying, signing, unproven }) => {
    signers.keep(signing)
    for (const kid of signatures.keys()) if (!verifying.has(kid)) signatures.delete(kid)
    // Once, not twice a second.
    for (const kid of unproven) {
      if (told.includes(kid)) continue
      log.error({ kid }, 'no value of KEY_ENCRYPTION_KEY proves this signing key: it is ignored')
    }
    told = unproven
  })
  await signers.settled()

  const { view, isRecent, freshen } = reading
  const jwks = () => ({
    ...view().jwks,
    stale: !isRecent(),
    expired: !isRecent() && reading.age() > config.jwksCeiling * 1000,
  })
  const isUnknown = (purpose: KeyPurpose, alg: SigningAlg) => {
    const life = activeLife(view(), purpose, alg)
    return life === undefined || isStrange(life, now(), config)
  }
  /** The key that signs. One may have ended while it was opened and this process stood still: then another does. */
  const findSigner = async (purpose: KeyPurpose, alg: SigningAlg) => {
    for (let ended: string | undefined; ; ) {
      const kid = view().active.get(`${purpose} ${alg}`)
      // Both were dropped a moment ago, and a new one is being made.
      if (kid === undefined) throw new CustodyError(`There is no active ${alg} key for ${purpose}`)
      try {
        return { kid, signer: await signers.get(kid) }
      } catch (error) {
        if (!(error instanceof KeyEndedError) || kid === ended) throw error
        ended = kid
        await reading.refresh()
      }
    }
  }
  const upToDate = () => (isRecent() ? recently : freshen())
  const verificationKey: KeyRing['verificationKey'] = (purpose, kid) => {
    const found = view().verifying.get(kid)
    if (found?.life.purpose !== purpose || !isVerifiable(found.life)) return undefined
    return { alg: found.alg, key: found.key }
  }

  return {
    async sign(purpose, alg, typ, claims) {
      if (!isRecent()) await freshen()
      const { kid, signer } = await findSigner(purpose, alg)
      const input = signingInputOf({ typ, kid }, claims, alg)
      const made = signer(Buffer.from(input, 'ascii'))
      const signature = Buffer.isBuffer(made) ? made : await made
      signatures.set(kid, (signatures.get(kid) ?? 0) + 1)
      return { jws: `${input}.${signature.toString('base64url')}`, kid }
    },
    algFor(purpose, wanted) {
      const otherwise = purpose === 'id_token' ? 'RS256' : 'ES256'
      const alg = config.signingAlgs.find((known) => known === wanted) ?? otherwise
      if (alg === otherwise) return alg
      return isUnknown(purpose, alg) && !isUnknown(purpose, otherwise) ? otherwise : alg
    },
    stillSign: async (db, kids) => (await countActive(db, kids)) === new Set(kids).size,
    upToDate,
    verificationKey,
    ...createVerifiers({ upToDate, verificationKey }, deps),
    sealKeys: (db) => loadSealKeys(db, config.keyEncryptionKeys ?? [], view()),
    jwks,
    async freshJwks() {
      await readAgain(reading)
      return jwks()
    },
    ready: () =>
      slotsOf(REQUIRED_ALGS).every(({ purpose, alg }) =>
        signers.has(view().active.get(`${purpose} ${alg}`) ?? ''),
      ),
    refresh: reading.refresh,
    figures() {
      const lives = [...view().verifying.values()].map(({ life }) => life)
      return lives
        .filter(({ status }) => status !== 'removed')
        .map((life) => ({
          ...life,
          next: nextStep(life, lives, config, undefined),
          signatures: signatures.get(life.kid) ?? 0,
        }))
    },
    close: reading.close,
  }
}

const activeLife = ({ active, verifying }: KeyView, purpose: KeyPurpose, alg: SigningAlg) =>
  verifying.get(active.get(`${purpose} ${alg}`) ?? '')?.life

/** As far as the database answers: while it is known to be away nobody waits for it. */
async function readAgain({ isRecent, isLost, freshen }: Reading): Promise<void> {
  while (!isRecent() && !isLost()) {
    const askedAt = performance.now()
    const late = () => new Error('The keys were not read in time')
    await within(PATIENCE, freshen(), late).catch(() => undefined)
    // Much longer than that: the process stood still, and nobody has waited for the database yet.
    if (performance.now() - askedAt < 2 * PATIENCE) return
  }
}

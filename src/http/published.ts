/**
 * Documents that others publish under an address, remembered between requests: key sets and the like, never
 * what says that something is allowed.
 *
 *   fresh   used as it is
 *   stale   asked for again; used on while that fails, for a day
 *   one that does not serve a request is asked for again too, but not more often than the cool-down allows
 */
import type { Outbound } from './outbound.ts'

type Surroundings = {
  now: () => Date
  outbound: Pick<Outbound, 'getJson'>
  log: { warn: (what: object, words: string) => void }
}

/** In bytes (DR-33). */
export const LONGEST_DOCUMENT = 256 * 1024
/** Milliseconds that a document is used before it is read again. */
const FRESH = 5 * 60_000
/** Milliseconds between two tries, for one that does not serve or after a failure. */
const COOL_DOWN = 30_000
/** Milliseconds that a document is used at the most while it cannot be read again. */
const STALE = 24 * 60 * 60_000
const MOST_DOCUMENTS = 1_000

/** The document as last read, and when it was last asked for: in vain, if that is later. */
type Kept<Value> = { askedAt: number; readAt: number; value: Value | undefined }

export type Published<Value> = {
  value: Value | undefined
  /** False when it could not be read the last time: there may be something newer. */
  current: boolean
}

/**
 * @param read what of a document is kept. Throws for one that is not what it should be: it counts as not read.
 * @param what it is, for the log
 */
export function rememberPublished<Value>(
  what: string,
  read: (document: Record<string, unknown>) => Value,
) {
  const documents = new Map<string, Promise<Kept<Value>>>()

  /** After a failure what was known before is remembered, be it nothing. */
  function ask(deps: Surroundings, url: string, now: number, known?: Kept<Value>) {
    const asked = deps.outbound
      .getJson(url, { maxBytes: LONGEST_DOCUMENT })
      .then(({ json }) => ({ askedAt: now, readAt: now, value: read(json) }))
      .catch((error): Kept<Value> => {
        deps.log.warn({ err: error, url }, `${what} could not be read`)
        return { readAt: 0, value: undefined, ...known, askedAt: now }
      })
    if (documents.size >= MOST_DOCUMENTS && !documents.has(url)) {
      documents.delete(documents.keys().next().value as string)
    }
    documents.set(url, asked)
    return asked
  }

  /** @param serves whether what is remembered will do */
  return async (
    deps: Surroundings,
    url: string,
    serves: (value: Value) => boolean,
  ): Promise<Published<Value>> => {
    const now = deps.now().getTime()
    const pending = documents.get(url)
    const known = await pending
    if (known !== undefined) {
      const fresh = now - known.readAt < FRESH && known.value !== undefined && serves(known.value)
      if (fresh || now - known.askedAt < COOL_DOWN) return published(known, now)
    }
    // Whoever waited for the same stale document may have begun to ask for it anew already.
    const newer = documents.get(url)
    const next = newer !== undefined && newer !== pending ? newer : ask(deps, url, now, known)
    return published(await next, now)
  }
}

const published = <Value>({ askedAt, readAt, value }: Kept<Value>, now: number) => ({
  value: now - readAt > STALE ? undefined : value,
  current: readAt === askedAt,
})

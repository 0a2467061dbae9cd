/**
 * Whether events were lost, doubled, changed or late, by what the database noted (event-watch.ts) and what the
 * relying apps have on record (scripted-app.ts). Values only; it finds fault and nothing else.
 *
 * An app writes whole milliseconds and cuts off the rest, so what it received is at least as late as it says.
 */

import type {
  Watched,
  WatchedConsent,
  WatchedEnding,
  WatchedEvent,
  WatchedMint,
  Whom,
} from './event-watch.ts'
import type { Receipt } from './scripted-apps.ts'

export type Evidence = Watched & {
  receipts: readonly Receipt[]
  /** When a server was killed, frozen or cut off its database, in milliseconds since 1970. */
  blows: readonly number[]
}

type Read = Receipt & { jti: string }

/** Milliseconds that an attempt may have been under way before the app had read the event. */
const BEGUN = 3_000

/** Microseconds by which what was written later may have committed before. */
const MEANWHILE = 3_000_000

/** Every fault, in words. */
export function findFaults(evidence: Evidence): string[] {
  const receipts = evidence.receipts.filter((one): one is Read => one.jti !== undefined)
  const ofJti = Map.groupBy(receipts, ({ jti }) => jti)
  const eventsOf = Map.groupBy(evidence.events, ({ pair }) => pair)
  const mintsOf = Map.groupBy(evidence.mints, ({ pair }) => pair)
  const consentsOf = Map.groupBy(evidence.consents, ({ pair }) => pair)
  const faults: string[] = []
  const judge = (event: WatchedEvent | undefined, fault: string | false | undefined) => {
    if (fault) faults.push(event ? `${event.id} (${event.status}): ${fault}` : fault)
  }

  const known = new Map<string, WatchedEvent>()
  for (const event of evidence.events) {
    const jtis = new Set(event.changes.map(({ jti }) => jti))
    for (const jti of jtis) {
      judge(event, known.has(jti) && `${jti} is the name of ${known.get(jti)?.id} too`)
      known.set(jti, event)
    }
    const received = [...jtis].flatMap((jti) => ofJti.get(jti) ?? [])
    const mints = (mintsOf.get(event.pair) ?? []).filter(isAbout(event))
    judge(event, unfinished(event, (consentsOf.get(event.pair) ?? []).filter(isAbout(event))))
    judge(event, notAccepted(event, ofJti.get(event.jti) ?? []))
    judge(event, renamed(event, ofJti))
    judge(event, takenForReplay(event, ofJti.get(event.jti) ?? []))
    judge(event, otherBytes(event, received))
    judge(event, mintedMeanwhile(event, mints))
    judge(event, receivedLate(event, received, mints))
    judge(event, needless(event, eventsOf.get(event.pair) ?? [], mints))
  }
  for (const [jti, received] of ofJti) {
    judge(
      known.get(jti),
      !known.has(jti) && `nobody sent ${jti}, which ${received[0]?.app} received`,
    )
    for (const fault of sentTwice(received, evidence.blows)) judge(known.get(jti), fault)
  }
  for (const ending of evidence.endings) {
    const mints = (mintsOf.get(ending.pair) ?? []).filter(
      ({ delegation_id }) => delegation_id === ending.delegation_id,
    )
    const events = (eventsOf.get(ending.pair) ?? []).filter((event) => isAbout(event)(ending))
    const fault = untold(ending, mints, events)
    judge(undefined, fault && `${ending.delegation_id}: ${fault}`)
  }
  return faults
}

/** Whether an event ends what an agent has there: one that names no agent is about all. */
const isAbout =
  ({ agent_id }: Whom) =>
  (one: Whom): boolean =>
    agent_id === null || agent_id === one.agent_id

const queuedAt = ({ changes }: WatchedEvent): number => changes[0]?.at ?? Number.NaN

/** Each event ends delivered, or failed for everyone to see: one that had failed may be dropped for a newer consent. */
function unfinished(event: WatchedEvent, consents: readonly WatchedConsent[]): string | undefined {
  const { status, last_answer, resent, changes } = event
  if (status === 'delivered') return undefined
  if (status === 'superseded' && resent) {
    const until = changes.at(-1)?.at ?? Number.NaN
    const overtaken = consents.some(({ at }) => queuedAt(event) - MEANWHILE < at && at <= until)
    return overtaken ? undefined : 'it was dropped for a consent that nobody gave'
  }
  if (status !== 'failed') return 'it is on its way for ever'
  return last_answer === null ? 'nothing says why' : undefined
}

const notAccepted = ({ status, jti }: WatchedEvent, received: readonly Read[]) =>
  status === 'delivered' &&
  !received.some(({ accepted }) => accepted) &&
  `${jti} was never accepted`

/**
 * Another `jti` has its reason, each: somebody's word, or once that the app took it for a replay of what it may
 * have got by an attempt of which nobody knows.
 */
function renamed(
  { changes }: WatchedEvent,
  ofJti: ReadonlyMap<string, readonly Read[]>,
): string | undefined {
  const jtis = new Set(changes.map(({ jti }) => jti))
  for (const [n, { jti, attempts, remedies, resent }] of changes.entries()) {
    const before = changes[n - 1]
    // What could not be signed when it was queued was never sent.
    if (before === undefined || before.jti === jti || before.bytes === null) continue
    if (before.status === 'failed' && resent) continue
    const received = ofJti.get(before.jti) ?? []
    const replayed = received.some(({ answer }) => answer === 'invalid_request')
    const first = !before.remedies.includes('new_jti') && remedies.includes('new_jti')
    // One that was struck, or found no connection, has left nothing with the app.
    const until = changes[n]?.at ?? 0
    const heard = [...jtis].flatMap((name) => ofJti.get(name) ?? [])
    const unheard = attempts > heard.filter(({ at }) => at < until / 1_000).length
    const unknown = received.length > 1 || unheard
    if (!first || !replayed || !unknown) return `it got the name ${jti} for no reason`
  }
  return undefined
}

/** Of these answers the server knows nothing. */
const UNKNOWN = ['silence', 'reset_after', 'reset_within']

/** It may have been taken before, so it is sent once more under another name. */
function takenForReplay({ status, changes }: WatchedEvent, ofName: readonly Read[]) {
  const last = ofName.at(-1)
  const wasUnknown = ofName.some(({ answer }) => UNKNOWN.includes(answer))
  const tried = changes.at(-1)?.remedies.includes('new_jti')
  return (
    status === 'failed' &&
    last?.answer === 'invalid_request' &&
    wasUnknown &&
    !tried &&
    'it was given up as a replay of itself'
  )
}

function otherBytes({ changes }: WatchedEvent, received: readonly Read[]) {
  const signed = new Map(changes.map(({ jti, bytes }) => [jti, bytes]))
  const other = received.find(({ jti, bytes }) => signed.get(jti) !== bytes)
  return other && `${other.jti} was received with other bytes`
}

/** From when it was queued until it was accepted or given up; again after it was sent again by hand. */
function waits({ changes }: WatchedEvent): { from: number; to: number; resent: boolean }[] {
  return changes.flatMap(({ status, at, resent }, n) => {
    if (status !== 'queued' || changes[n - 1]?.status === 'queued') return []
    const end = changes.slice(n).find((one) => one.status !== 'queued')
    return [{ from: at, to: end?.at ?? Number.POSITIVE_INFINITY, resent }]
  })
}

/**
 * When it counts as saying what it says, about mints before `queued`: from then until it was given up. While it is
 * being sent again nothing rests on it, for a newer consent would drop it.
 */
function stands(event: WatchedEvent): { queued: number; from: number; to: number }[] {
  return waits(event).flatMap(({ from: queued, to, resent }) => {
    const ended = event.changes.find(({ at }) => at === to)?.status
    if (ended === 'delivered') {
      return [{ queued, from: resent ? to : queued, to: Number.POSITIVE_INFINITY }]
    }
    return resent ? [] : [{ queued, from: queued, to }]
  })
}

/** EV-14. Who sends an event again by hand holds up nobody. */
function mintedMeanwhile(event: WatchedEvent, mints: readonly WatchedMint[]) {
  const [first] = waits(event)
  const mint = first && mints.find(({ at }) => first.from < at && at < first.to)
  return mint && `an ID-JAG was minted under ${mint.delegation_id} while it waited`
}

/** EV-14: what an app had accepted before may come once more, for it knows the `jti`; so may what is sent again by hand. */
function receivedLate(
  event: WatchedEvent,
  received: readonly Read[],
  mints: readonly WatchedMint[],
) {
  const first = mints.map(({ at }) => at).filter((at) => at > queuedAt(event))
  const mintedAt = Math.min(...first) / 1_000
  const acceptedBefore = new Set(
    received.filter(({ accepted, at }) => accepted && at < mintedAt).map(({ jti }) => jti),
  )
  const again = new Set(event.changes.flatMap(({ jti, resent }) => (resent ? [jti] : [])))
  const late = received.find(
    ({ jti, at }) => at > mintedAt && !acceptedBefore.has(jti) && !again.has(jti),
  )
  return late && `${late.app} received it ${late.at - mintedAt} ms after a newer ID-JAG`
}

/** Two events about the same say something each: a mint lies between them, or the first was given up. */
function needless(
  event: WatchedEvent,
  ofPair: readonly WatchedEvent[],
  mints: readonly WatchedMint[],
) {
  const at = queuedAt(event)
  const others = ofPair.filter((one) => one !== event && isAbout(one)(event) && queuedAt(one) <= at)
  const before = others.find((one) =>
    stands(one).some(
      ({ queued, from, to }) =>
        from <= at && at < to && !mints.some((mint) => queued < mint.at && mint.at < at),
    ),
  )
  return before && `it says again what ${before.id} said`
}

/** By two servers at a time, or once more after it was accepted: only where one of them was struck. */
function sentTwice(received: readonly Read[], blows: readonly number[]): string[] {
  const struck = (from: number, to: number) => blows.some((at) => from - BEGUN < at && at <= to)
  const accepted = received.find((one) => one.accepted)
  return received.flatMap(({ app, at, beside }) => {
    if (beside !== undefined && !struck(beside, at)) return [`${app} received it twice at a time`]
    const again = accepted !== undefined && accepted.at < at && !struck(accepted.at, at)
    return again ? [`${app} received it again after it had accepted it`] : []
  })
}

/** What was minted before an ending is covered by an event since, which stood when the ending looked for one. */
function untold(
  { began, at }: Pick<WatchedEnding, 'began' | 'at'>,
  mints: readonly WatchedMint[],
  events: readonly WatchedEvent[],
): string | undefined {
  if (mints.some((mint) => mint.at > at)) return 'an ID-JAG was minted after its end'
  if (mints.length === 0) return undefined
  const last = Math.max(...mints.map((mint) => mint.at))
  const told = events.some((event) =>
    stands(event).some(({ queued, from, to }) => last < queued && from <= at && began < to),
  )
  return told ? undefined : 'its audience was not told of its end'
}

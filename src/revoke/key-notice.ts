import type { CompromisedKey } from '../keys/compromise.ts'

/** What had become of a key when the answer was written. */
export type Dropped = Pick<
  CompromisedKey,
  'purpose' | 'alg' | 'compromised_at' | 'activated_at'
> & {
  /** False: the server goes on with what rests on it. */
  complete: boolean
  /** Until then a copy of the key set may hold it; null: it was in none. */
  until: Date | null
  /** Seconds after which the last replica acts on a change. */
  margin: number
}

/** For a person who has to act on it, in plain words: what has ended, what has not, and whom to tell (DS-26). */
export function keyNotice(key: Dropped): string {
  const at = instant(key.compromised_at)
  if (key.until === null) {
    return `This server seals with another key since ${at}. Seals of this key stay as they are: whoever held it could have forged some, and only a head that was kept elsewhere tells (GET /audit-events/verify?head=).`
  }
  const cached = `may go on accepting whatever is signed by it, with whatever expiry a thief writes, until it fetches the key set again: at ${instant(key.until)} at the latest, if it keeps a key set no longer than JWKS_CEILING.`
  const notice =
    key.purpose === 'id_token'
      ? [dropped(key), sessions(key), ...clients(key, cached)]
      : [dropped(key), ...relyingApps(key, cached)]
  return notice.join(' ')
}

const dropped = ({ compromised_at, margin }: Dropped) =>
  `Since ${instant(compromised_at)} this server signs nothing with the key, does not publish it and accepts nothing signed by it. Its other replicas follow within half a second; one that cannot read the database accepts it for ${margin} s at the most, and may publish it until it can.`

function sessions({ activated_at, complete }: Dropped): string {
  if (activated_at === null) return NEVER_SIGNED
  if (complete) {
    return 'The sessions that its ID tokens stand for have ended; their users sign in again.'
  }
  return 'The sessions that its ID tokens stand for are being ended, not all of them before this answer: the server goes on by itself. Their users sign in again.'
}

const clients = ({ alg }: Dropped, cached: string) => [
  `A client that verifies ID tokens with a copy of the key set ${cached}`,
  `Such clients are agents whose id_token_signed_response_alg is ${alg} (GET /agents): tell those who run them to fetch it now.`,
]

const relyingApps = ({ activated_at, complete }: Dropped, cached: string) => [
  `A relying app that holds a copy of the key set ${cached}`,
  activated_at === null ? NEVER_SIGNED : events(complete),
  'Tell the operators of the apps listed, by another way than the network, to fetch the key set now, and to end what they gave on ID-JAGs with this kid.',
  'Whoever holds the key can forge events too, of revocations and of Shared Signals: tell the operators of the receivers listed to fetch the key set as well, and to distrust events with this kid.',
]

function events(complete: boolean): string {
  const rest = complete ? '' : ' Not all of them are queued yet: the server goes on by itself.'
  return `Apps marked as told will be told by an event to end what they gave for ID-JAGs of this key (GET /event-deliveries says when it has arrived), but may keep the key.${rest}`
}

const NEVER_SIGNED = 'The key had signed nothing here yet, and so nothing rested on it.'

const instant = (at: Date): string => at.toISOString()

/**
 * What relying apps answer to events: by a seed, so that the same event meets the same fate in another run,
 * in whatever order things happen there.
 */

import { createHash } from 'node:crypto'

export type Answering =
  | 'accept'
  /** Another 2xx than 202. */
  | 'accept_otherwise'
  /** 202, with its end a while later. */
  | 'accept_in_drips'
  /** Reads it and never answers. */
  | 'silence'
  /** Reads it and goes away. */
  | 'reset_after'
  /** In the midst of an answer. */
  | 'reset_within'
  | 'unavailable'
  | 'unavailable_until'
  | 'too_many'
  | 'redirect'
  | 'gone'
  | 'unauthorized'
  | 'nonsense'
  | ErrorAnswer
  /** Waits for the test to say. */
  | 'hold'
export type ErrorAnswer =
  | 'invalid_request'
  | 'invalid_key'
  | 'invalid_issuer'
  | 'invalid_audience'
  | 'authentication_failed'
  | 'access_denied'

export const ERRORS: readonly string[] = [
  'invalid_request',
  'invalid_key',
  'invalid_issuer',
  'invalid_audience',
  'authentication_failed',
  'access_denied',
] satisfies ErrorAnswer[]

/** How a connection begins: what is wrong with a certificate says its name. */
export type Greeting = 'well' | 'untrusted' | 'misnamed' | 'hang_up'

export type AppKind = keyof typeof KINDS

/** What becomes of one event: `sent` are the answers to its `jti` so far. */
export function chooseAnswer(
  { seed, kind }: { seed: string; kind: AppKind },
  jti: string,
  sent: readonly Answering[],
): Answering {
  const { answers, patience, remembers } = KINDS[kind] as Kind
  // As the reference receivers do, to whom it is a replay (EV-15 asks for 202).
  if (remembers && sent.length > 0) return 'invalid_request'
  if (sent.length >= patience) return 'accept'
  return pick(answers, `${seed} ${kind} ${jti} ${sent.length}`)
}

export const chooseGreeting = (seed: string, kind: AppKind, connection: number): Greeting =>
  pick((KINDS[kind] as Kind).greetings ?? { well: 1 }, `${seed} ${kind} ${connection}`)

export const isByTls = (kind: AppKind): boolean => (KINDS[kind] as Kind).tls === true

/** Whether the event is taken by it. */
export const accepts = (answer: Answering): boolean => answer.startsWith('accept')

type Weights<Name extends string> = Partial<Record<Name, number>>
type Kind = {
  answers: Weights<Answering>
  /** Attempts after which an event is taken; most of what is transient is over by then. */
  patience: number
  greetings?: Weights<Greeting>
  tls?: boolean
  /** What it has read once it refuses. */
  remembers?: boolean
}

const KINDS = {
  healthy: { answers: { accept: 97, accept_in_drips: 3 }, patience: 1 },
  busy: {
    answers: { accept: 50, unavailable: 25, unavailable_until: 15, too_many: 10 },
    patience: 4,
  },
  slow: { answers: { accept: 69, accept_in_drips: 30, silence: 1 }, patience: 2 },
  cutting: {
    answers: { accept: 70, reset_after: 20, reset_within: 10 },
    patience: 4,
    greetings: { well: 80, hang_up: 20 },
  },
  'late with keys': { answers: { accept: 70, invalid_key: 30 }, patience: 3 },
  remembering: {
    answers: { accept: 55, reset_after: 25, unavailable: 10, reset_within: 10 },
    patience: 1,
    remembers: true,
  },
  refusing: {
    answers: {
      accept: 40,
      accept_otherwise: 12,
      invalid_request: 8,
      invalid_issuer: 6,
      invalid_audience: 6,
      authentication_failed: 6,
      access_denied: 6,
      unauthorized: 6,
      nonsense: 5,
      redirect: 5,
    },
    patience: 3,
  },
  moving: { answers: { accept: 60, gone: 25, nonsense: 15 }, patience: 3 },
  'wrong TLS at times': {
    answers: { accept: 80, reset_after: 20 },
    patience: 2,
    greetings: { well: 55, untrusted: 15, misnamed: 15, hang_up: 15 },
    tls: true,
  },
  'wrong TLS': {
    answers: { accept: 1 },
    patience: 0,
    greetings: { untrusted: 50, misnamed: 50 },
    tls: true,
  },
  away: { answers: { accept: 1 }, patience: 0, greetings: { hang_up: 1 } },
  waiting: { answers: { hold: 1 }, patience: Number.POSITIVE_INFINITY },
} satisfies Record<string, Kind>

function pick<Name extends string>(weights: Weights<Name>, of: string): Name {
  const entries = Object.entries<number>(weights as Record<string, number>)
  const total = entries.reduce((sum, [, weight]) => sum + weight, 0)
  let left = (createHash('sha256').update(of).digest().readUInt32BE() / 2 ** 32) * total
  for (const [name, weight] of entries) {
    left -= weight
    if (left < 0) return name as Name
  }
  return entries.at(-1)?.[0] as Name
}

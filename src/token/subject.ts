import { hash } from 'node:crypto'
import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import { type DecodedJws, decodeJws, verifyJws } from '../oauth/jws.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { hashSecret } from '../oauth/secret.ts'
import type { UserFacts } from '../policy/decide.ts'
import { GRANT_CLAIM } from '../sessions/family.ts'
import type { Facts, FamilyFacts, SessionFacts } from './facts.ts'

/** A subject token as presented: read, not believed. */
export type SubjectToken =
  | { kind: 'id_token'; token: string; jws: DecodedJws | undefined; family_id: string | null }
  | { kind: 'refresh_token'; hash: Buffer }

/** Who an exchange is about, once the token and everything behind it hold. */
export type Subject = { user: UserFacts; session: SessionFacts; family: FamilyFacts }

export function readSubjectToken(kind: SubjectToken['kind'], token: string): SubjectToken {
  if (kind === 'refresh_token') return { kind, hash: hashSecret(token) }
  const jws = decodeJws(token)
  const grant = jws?.payload[GRANT_CLAIM]
  return { kind, token, jws, family_id: typeof grant === 'string' ? grant : null }
}

/**
 * Judges the subject token: an ID token by TX-21…TX-24, a refresh token by TX-26. Neither is spent.
 * @returns the reason when it does not hold: every one of them is `invalid_grant` to the caller.
 */
export function verifySubject(
  deps: Pick<Deps, 'keys' | 'config' | 'now'>,
  subject: SubjectToken,
  agent: AgentFacts,
  facts: Facts,
): Subject | { refused: Reason } {
  const now = deps.now()
  const fault =
    subject.kind === 'id_token'
      ? faultOfIdToken(deps, subject, agent, facts, now)
      : faultOfRefreshToken(facts, agent, now)
  if (fault !== undefined) return { refused: fault }

  const { family, session, user } = facts
  if (family === undefined || session === undefined || user === undefined) {
    return { refused: 'bad_subject_token' }
  }
  // What ends a user or a session ends its families too: the cause is named rather than the consequence.
  if (user.status !== 'active') return { refused: 'user_inactive' }
  if (session.ended || session.expires_at <= now) return { refused: 'session_ended' }
  if (family.ended) return { refused: 'refresh_token_revoked' }
  if (user.tenant_id !== agent.tenant_id) return { refused: 'wrong_subject_audience' }
  return { family, session, user }
}

function faultOfIdToken(
  deps: Pick<Deps, 'keys' | 'config'>,
  { token, jws }: SubjectToken & { kind: 'id_token' },
  agent: AgentFacts,
  { family, session }: Facts,
  now: Date,
): Reason | undefined {
  if (jws === undefined || !isOurIdToken(deps.keys, token, jws)) return 'bad_subject_token'
  const { iss, aud, azp, exp, iat, sub, sid } = jws.payload
  const at = numericDate(now)
  if (iss !== deps.config.issuer) return 'bad_subject_token'
  if (typeof exp !== 'number' || typeof iat !== 'number' || iat > at + SKEW)
    return 'bad_subject_token'
  if (exp <= at) return 'subject_token_expired'
  const forClient =
    aud === agent.id || (Array.isArray(aud) && aud.includes(agent.id) && azp === agent.id)
  if (!forClient) return 'wrong_subject_audience'
  // The grant is found by the token's own claim; it must be the grant of this very client, user and session.
  if (family === undefined || family.agent_id !== agent.id) return 'bad_subject_token'
  if (family.user_id !== sub || session?.id !== sid || session?.user_id !== sub) {
    return 'bad_subject_token'
  }
  return undefined
}

function faultOfRefreshToken({ family }: Facts, agent: AgentFacts, now: Date): Reason | undefined {
  if (family?.token === undefined || family.agent_id !== agent.id) return 'bad_subject_token'
  if (family.token.spent && !family.ended) return 'spent_refresh_token'
  if (family.token.expires_at <= now || family.expires_at <= now) return 'subject_token_expired'
  return undefined
}

/** Seconds that another replica's clock may be ahead. */
const SKEW = 5

/** Tokens whose signature was found valid: that alone is remembered, by digest (design §5). */
const MOST_REMEMBERED = 20_000
const remembered = new Map<string, string>()

/** `typ`, key and signature: a token of any other kind, or by a key of another purpose, is none (TX-23). */
function isOurIdToken(keys: KeyRing, token: string, jws: DecodedJws): boolean {
  const { typ, kid } = jws.header
  if (typ !== undefined && typ !== 'JWT') return false
  if (typeof kid !== 'string') return false
  // Asked every time, so that a key that is no longer accepted takes its tokens with it.
  const key = keys.verificationKey('id_token', kid)
  if (key === undefined) return false
  const digest = hash('sha256', token, 'base64')
  if (remembered.get(digest) === kid) return true
  if (!verifyJws(jws, key.alg, key.key)) return false
  if (remembered.size >= MOST_REMEMBERED)
    remembered.delete(remembered.keys().next().value as string)
  remembered.set(digest, kid)
  return true
}

import { hash } from 'node:crypto'
import { type AgentFacts, clientIdOf } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import type { KeyRing } from '../keys/key-ring.ts'
import { type DecodedJws, decodeJws, verifyJws } from '../oauth/jws.ts'
import { DELEGATE_SCOPE, TYP } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { hashSecret } from '../oauth/secret.ts'
import type { Authentication, UserFacts } from '../policy/facts.ts'
import { GRANT_CLAIM } from '../sessions/family.ts'
import type { Facts, FamilyFacts } from './facts.ts'

/** A subject token as presented: read, not believed. */
export type SubjectToken =
  | { kind: 'id_token'; token: string; jws: DecodedJws | undefined; family_id: string | null }
  | { kind: 'access_token'; token: string; jws: DecodedJws | undefined; family_id: string | null }
  | { kind: 'refresh_token'; hash: Buffer }
  /** An ID token that another issuer claims to have made. */
  | { kind: 'upstream'; jws: DecodedJws; iss: string; sub: string }

/** Who an exchange is about, once the token and everything behind it hold. */
export type Subject = Authentication & {
  user: UserFacts
  amr: readonly string[]
  /** Null for a subject of a trusted issuer, which has neither here. */
  session_id: string | null
  family_id: string | null
  trusted_issuer_id: string | null
}

/** `issuer` is our own: an ID token that names another is judged by what is registered of that one. */
export function readSubjectToken(
  kind: 'id_token' | 'access_token' | 'refresh_token',
  token: string,
  issuer: string,
): SubjectToken {
  if (kind === 'refresh_token') return { kind, hash: hashSecret(token) }
  if (kind === 'access_token') return readAccessToken(token)
  const jws = decodeJws(token)
  const { iss, sub } = jws?.payload ?? {}
  if (jws && typeof iss === 'string' && iss !== issuer) {
    return { kind: 'upstream', jws, iss, sub: typeof sub === 'string' ? sub : '' }
  }
  return { kind, token, jws, family_id: familyOf(jws) }
}

export function readAccessToken(token: string): SubjectToken & { kind: 'access_token' } {
  const jws = decodeJws(token)
  return { kind: 'access_token', token, jws, family_id: familyOf(jws) }
}

/** The grant that a token of ours says it is of. */
function familyOf(jws: DecodedJws | undefined): string | null {
  const grant = jws?.payload[GRANT_CLAIM]
  return typeof grant === 'string' ? grant : null
}

/** What is judged here; a token of another issuer is judged in upstream.ts. */
export type OwnSubjectToken = Exclude<SubjectToken, { kind: 'upstream' }>

/**
 * Judges the subject token: an ID token by TX-21…TX-24, a refresh token by TX-26, an access token by TX-29.
 * None is spent. A refresh token outlives its session: whether it may be used then is for the policy to say.
 * @param jkt thumbprint of the key that the request proved to hold (DP-09)
 * @returns the reason when it does not hold: every one of them is `invalid_grant` to the caller.
 */
export function verifySubject(
  deps: Pick<Deps, 'keys' | 'config' | 'now'>,
  subject: OwnSubjectToken,
  agent: AgentFacts,
  facts: Facts,
  jkt: string | undefined,
): Subject | { refused: Reason } {
  const now = deps.now()
  const fault = faultOfToken(deps, subject, agent, facts, now)
  if (fault !== undefined) return { refused: fault }

  const { family, session, user } = facts
  if (family === undefined || session === undefined || user === undefined) {
    return { refused: 'bad_subject_token' }
  }
  const live = !session.ended && session.expires_at > now
  const ended = faultOfUser(user, live, subject.kind)
  if (ended !== undefined) return { refused: ended }
  if (family.ended) return { refused: live ? 'refresh_token_revoked' : 'session_ended' }
  if (user.tenant_id !== agent.tenant_id) return { refused: 'wrong_subject_audience' }
  const bound = boundTo(subject, family)
  if (bound !== null && bound !== jkt) return { refused: 'wrong_dpop_key' }
  const { auth_time, amr, acr } = session
  return {
    user,
    auth_time,
    amr,
    acr,
    live,
    session_id: session.id,
    family_id: family.id,
    trusted_issuer_id: null,
  }
}

/**
 * Whether the user stands, and the session as far as this kind of token needs it (TX-24). What ends either
 * ends its families too: the cause is named rather than the consequence.
 */
export function faultOfUser(
  user: Pick<UserFacts, 'status'>,
  live: boolean,
  kind: SubjectToken['kind'],
): Reason | undefined {
  if (user.status !== 'active') return 'user_inactive'
  return live || kind === 'refresh_token' ? undefined : 'session_ended'
}

function faultOfToken(
  deps: Pick<Deps, 'keys' | 'config'>,
  subject: OwnSubjectToken,
  agent: AgentFacts,
  facts: Facts,
  now: Date,
): Reason | undefined {
  if (subject.kind === 'refresh_token') return faultOfRefreshToken(facts, agent, now)
  if (subject.kind === 'id_token') return faultOfIdToken(deps, subject, agent, facts, now)
  return faultOfAccessToken(deps, subject, agent, facts, now)
}

/**
 * The thumbprint of the key that alone may use the token (DP-09). A refresh token is bound with its grant; an
 * access token says so itself, for a grant that is not bound gives bound ones too; an ID token never is.
 */
function boundTo(subject: OwnSubjectToken, family: FamilyFacts): unknown {
  if (subject.kind === 'refresh_token') return family.dpop_jkt
  if (subject.kind === 'id_token') return null
  const { cnf } = subject.jws?.payload ?? {}
  return cnf === undefined ? null : ((cnf as { jkt?: unknown } | null)?.jkt ?? '')
}

function faultOfIdToken(
  deps: Pick<Deps, 'keys' | 'config'>,
  { token, jws }: SubjectToken & { kind: 'id_token' },
  agent: AgentFacts,
  { family, session }: Facts,
  now: Date,
): Reason | undefined {
  if (jws === undefined || !isOurs(deps.keys, token, jws, ID_TOKEN_TYPES)) {
    return 'bad_subject_token'
  }
  const { aud, azp, sub, sid } = jws.payload
  const fault = faultOfTimes(deps, jws, now)
  if (fault !== undefined) return fault
  const client_id = clientIdOf(agent)
  const forClient =
    aud === client_id || (Array.isArray(aud) && aud.includes(client_id) && azp === client_id)
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

/**
 * An access token that was issued for this purpose: for this server, with a scope of its own (TX-29). One
 * for an API, or for userinfo alone, is none.
 */
function faultOfAccessToken(
  deps: Pick<Deps, 'keys' | 'config'>,
  { token, jws }: SubjectToken & { kind: 'access_token' },
  agent: AgentFacts,
  { family, session }: Facts,
  now: Date,
): Reason | undefined {
  if (jws === undefined || !isOurs(deps.keys, token, jws, ACCESS_TOKEN_TYPES)) {
    return 'bad_subject_token'
  }
  const { aud, client_id, sub, scope } = jws.payload
  const fault = faultOfTimes(deps, jws, now)
  if (fault !== undefined) return fault
  if (client_id !== clientIdOf(agent)) return 'wrong_subject_audience'
  if (aud !== deps.config.issuer || typeof scope !== 'string') return 'bad_subject_token'
  if (!deps.config.delegateTokens || !scope.split(' ').includes(DELEGATE_SCOPE)) {
    return 'bad_subject_token'
  }
  if (family === undefined || family.agent_id !== agent.id) return 'bad_subject_token'
  return family.user_id === sub && session?.user_id === sub ? undefined : 'bad_subject_token'
}

/** Of a token of ours: issuer, end and beginning (TX-21). */
function faultOfTimes(
  { config }: Pick<Deps, 'config'>,
  { payload: { iss, exp, iat } }: DecodedJws,
  now: Date,
): Reason | undefined {
  const at = numericDate(now)
  if (iss !== config.issuer) return 'bad_subject_token'
  if (typeof exp !== 'number' || typeof iat !== 'number' || iat > at + SKEW) {
    return 'bad_subject_token'
  }
  return exp <= at ? 'subject_token_expired' : undefined
}

const ID_TOKEN_TYPES: readonly unknown[] = [undefined, TYP.idToken]
const ACCESS_TOKEN_TYPES: readonly unknown[] = [TYP.accessToken]

/** Seconds that another replica's clock may be ahead. */
const SKEW = 5

/** Tokens whose signature was found valid: that alone is remembered, by digest (design §5). */
const MOST_REMEMBERED = 20_000
const remembered = new Map<string, string>()

/** `typ`, key and signature: a token of any other kind, or by a key of another purpose, is none (TX-23). */
function isOurs(keys: KeyRing, token: string, jws: DecodedJws, types: readonly unknown[]): boolean {
  const { typ, kid } = jws.header
  if (!types.includes(typ)) return false
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

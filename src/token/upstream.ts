/**
 * ID tokens of a trusted issuer as subject tokens. Its registration (rules/trusted-issuer.ts) stands in for
 * TX-21, TX-22, TX-24 and the marker of TX-23, which speak of ID tokens of our own:
 *
 *  1. The keys are the issuer's own, as it publishes them, and no others; `iss` is the registered text.
 *  2. The token was made for a client that is registered, and the agent may present those of that client.
 *  3. Nobody asks the issuer whether its session lives: the token's end bounds what it is good for, and the
 *     user, the link and the registration are asked for every time.
 *  4. The user is whoever the subject is linked to. Of the claims nothing is told (TX-25), and `auth_time`,
 *     `acr` and `amr` are believed where the registration says so.
 */
import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import { verifyJws } from '../oauth/jws.ts'
import { hasEnded } from '../policy/ended.ts'
import { isSubject } from '../rules/subject.ts'
import { findSubject, type Registration } from '../rules/trusted-issuer-queries.ts'
import type { Facts } from './facts.ts'
import type { Progress } from './progress.ts'
import { provisionAccount } from './provision.ts'
import type { Subject, SubjectToken } from './subject.ts'
import { authenticationOf, faultOfClaims, isIdTokenType } from './upstream-claims.ts'
import { findUpstreamKeys } from './upstream-keys.ts'

export type UpstreamToken = Extract<SubjectToken, { kind: 'upstream' }>
export type Upstream = {
  registration: Registration
  user_id: string | null
  /** Of the user, when the link was read. */
  user_version: string | null
}

/** What is registered of the issuer that a subject token names, and whose account its subject is. Nothing is believed yet. */
export async function findUpstream(
  deps: Pick<Deps, 'db'>,
  client_id: string,
  { iss, sub }: UpstreamToken,
): Promise<Upstream | undefined> {
  // Names that no record has, and that PostgreSQL would not even take.
  if (!isSubject(sub) || !/^[\x21-\x7e]+$/.test(iss) || client_id.includes('\0')) return undefined
  return findSubject(deps.db, { client_id, issuer: iss, subject: sub })
}

/**
 * Judges an ID token of a trusted issuer. `provisioned`: there is a user now, or the one of before has
 * changed since the link was read, so that all is to be read anew.
 * @returns the reason when it does not hold: every one of them is `invalid_grant` to the caller.
 * @throws {Refusal} `upstream_unavailable` while the keys of the issuer cannot be had
 */
export async function verifyUpstream(
  deps: Deps,
  { jws, sub }: UpstreamToken,
  agent: AgentFacts,
  upstream: Upstream | undefined,
  { user }: Pick<Facts, 'user'>,
  progress: Progress,
): Promise<Subject | { refused: Reason } | { provisioned: true }> {
  const now = deps.now()
  if (upstream === undefined || hasEnded(upstream.registration, now)) {
    return { refused: 'issuer_not_trusted' }
  }
  const { registration, user_id, user_version } = upstream
  if (!isIdTokenType(jws)) return { refused: 'bad_subject_token' }
  const keys = await findUpstreamKeys(deps, registration, jws.header)
  if (!keys.some(({ alg, key }) => verifyJws(jws, alg, key))) {
    return { refused: 'bad_subject_token' }
  }
  const fault = faultOfClaims(jws.payload, registration, agent.id, now)
  if (fault !== undefined) return { refused: fault }

  if (user_id === null) {
    return provisionAccount(
      deps,
      { registration, subject: sub, claims: jws.payload },
      agent,
      progress,
    )
  }
  if (user === undefined || user.tenant_id !== agent.tenant_id) {
    return { refused: 'wrong_subject_audience' }
  }
  if (user.status !== 'active') return { refused: 'user_inactive' }
  // The link was read before the user was. Had it been taken away in between, the version to be recorded
  // would be that of after, and would not tell.
  if (user.version !== user_version) return { provisioned: true }
  return {
    user,
    ...authenticationOf(jws.payload, registration, now),
    live: true,
    session_id: null,
    family_id: null,
    trusted_issuer_id: registration.id,
  }
}

import type { AgentFacts } from '../agents/authenticate.ts'
import type { Reason } from '../audit/reason.ts'
import type { Deps } from '../deps.ts'
import type { Facts } from './facts.ts'
import type { Subject, SubjectToken } from './subject.ts'

export type UpstreamToken = Extract<SubjectToken, { kind: 'upstream' }>
export type Upstream = { user_id: string | null }

/** What is registered of the issuer that a subject token names, and whose account its subject is. Nothing is believed yet. */
export async function findUpstream(
  _deps: Deps,
  _clientId: string,
  _token: UpstreamToken,
): Promise<Upstream | undefined> {
  return undefined
}

/** Judges an ID token of a trusted issuer. `provisioned`: there is a user now, so that all is to be read anew. */
export async function verifyUpstream(
  _deps: Deps,
  _token: UpstreamToken,
  _agent: AgentFacts,
  _upstream: Upstream | undefined,
  _facts: Facts,
): Promise<Subject | { refused: Reason } | { provisioned: true }> {
  return { refused: 'issuer_not_trusted' }
}

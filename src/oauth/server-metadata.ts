/**
 * What the metadata of an authorization server says (RFC 8414 §2), as far as we go by it, with the `agent_auth`
 * of auth.md in all its versions. None of them names its version: the members say which it is (DR-20). `skill`
 * is prose for agents and is not read (DR-24).
 */
import { readMembers } from './document-members.ts'
import { ID_JAG_GRANT_PROFILE, TOKEN_TYPE } from './names.ts'
import { isIdentifier, isScope } from './resource-metadata.ts'
import { parseWebUrl } from './uri.ts'

/** Where an ID-JAG or an event may go. `revocation_endpoint` is none of them: it ends one access token (EV-07). */
export const ENDPOINTS = [
  'token_endpoint',
  'identity_endpoint',
  'register_uri',
  'events_endpoint',
  'revocation_uri',
] as const
export type EndpointName = (typeof ENDPOINTS)[number]

export type ServerMetadata = {
  /** Undefined in v0.1 of auth.md, which has none. */
  issuer: string | undefined
  authorization_servers: string[]
  /** What auth.md services repeat of the metadata of their resource. */
  resource: string | undefined
  scopes: string[] | undefined
  endpoints: Partial<Record<EndpointName, string>>
  /** How ID-JAGs are taken, the newest way first. */
  accepts: ('identity_endpoint' | 'register_uri' | 'jwt-bearer')[]
  /** Whether it has what only the newest version of `agent_auth` has together. */
  is_newest: boolean
  events_supported: string[] | undefined
  ignored: readonly string[]
}

const CLAIM_GRANT = 'urn:workos:agent-auth:grant-type:claim'
const MOST = 200

/** @returns what is wrong, for a document that says nothing of whom it speaks */
export function readServerMetadata(
  document: Record<string, unknown>,
  allowLoopbackHttp: boolean,
): ServerMetadata | { fault: string } {
  const members = readMembers(document)
  const agentAuth = members.object('agent_auth')
  const assertions = agentAuth.object('identity_assertion')
  const isIssuer = (url: string) => isIdentifier(url, allowLoopbackHttp) && !url.includes('?')
  const isEndpoint = (url: string) =>
    url.length <= 2048 && parseWebUrl(url, allowLoopbackHttp) !== undefined
  const words = (from: typeof members, name: string) => from.texts(name, isShort, MOST)

  const issuer = members.text('issuer', isIssuer)
  if (issuer === undefined && members.has('issuer')) return { fault: 'its issuer is no https URL' }
  // No registry has the name outside of `agent_auth`, but who does without that has no other place for it.
  const events = ['events_endpoint', 'revocation_uri'].some(agentAuth.has) ? agentAuth : members
  const places: Partial<Record<EndpointName, typeof members>> = {
    token_endpoint: members,
    events_endpoint: events,
  }
  const endpoints: ServerMetadata['endpoints'] = {}
  for (const name of ENDPOINTS) {
    const url = (places[name] ?? agentAuth).text(name, isEndpoint)
    if (url !== undefined) endpoints[name] = url
  }
  // DR-07: the first version had none.
  const isFirst = endpoints.register_uri !== undefined && !agentAuth.has('identity_endpoint')
  if (issuer === undefined && !isFirst) return { fault: 'it has no issuer' }
  const identities = words(agentAuth, 'identity_types_supported') ?? []
  const takesIdJag =
    identities.includes('identity_assertion') &&
    words(assertions, 'assertion_types_supported')?.includes(TOKEN_TYPE.idJag) === true
  const grants = words(members, 'grant_types_supported')
  const profiles = words(members, 'authorization_grant_profiles_supported') ?? []
  return {
    issuer,
    authorization_servers: members.texts('authorization_servers', isIssuer, MOST) ?? [],
    resource: members.text('resource', (url) => isIdentifier(url, allowLoopbackHttp)),
    scopes: members.texts('scopes_supported', isScope, MOST),
    endpoints,
    accepts: [
      ...(takesIdJag && endpoints.identity_endpoint ? (['identity_endpoint'] as const) : []),
      ...(takesIdJag && endpoints.register_uri ? (['register_uri'] as const) : []),
      ...(profiles.includes(ID_JAG_GRANT_PROFILE) ? (['jwt-bearer'] as const) : []),
    ],
    is_newest:
      identities.includes('service_auth') && grants !== undefined && !grants.includes(CLAIM_GRANT),
    events_supported: words(events, 'events_supported'),
    ignored: members.ignored,
  }
}

const isShort = (text: string): boolean => text.length <= 512

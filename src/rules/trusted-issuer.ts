/**
 * Issuers whose ID tokens are taken as subject tokens: a platform that already signs its users in need not
 * do so again here.
 *
 *  1. A registration says whose keys are believed (its issuer's alone), for which of the issuer's clients,
 *     and which agents may bring the tokens of each. What it does not say, it does not permit.
 *  2. `auth_time` and contacts count only where it says so. Which user a subject is, is looked up and never
 *     taken from an address (upstream-account.ts).
 *  3. A mint holds the registration it rests on, and ending takes that row: rule 3 of rule.ts.
 */
import type { Db } from '../db/tables.ts'
import { violatedUnique } from '../db/unique.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { OutboundError } from '../http/outbound.ts'
import { invalid, ProblemError } from '../http/problem.ts'
import { LONGEST_DOCUMENT } from '../http/published.ts'
import { normaliseUri, parseWebUrl } from '../oauth/uri.ts'
import { endRule } from './end.ts'
import type { RuleKind } from './kind.ts'
import { makeRule } from './make.ts'
import { holdNamed, type Named, refuseGone } from './named.ts'
import { discoveryUrl, jwksUriOf, readProvider } from './provider-metadata.ts'
import type { Rule } from './rule.ts'
import { findLiveTrustedIssuer } from './trusted-issuer-queries.ts'
import {
  NewTrustedIssuer,
  STANDARD_CLAIMS,
  TrustedIssuer,
  TrustedIssuerQuery,
} from './trusted-issuer-schema.ts'

export const TRUSTED_ISSUERS: RuleKind<'trusted_issuers', NewTrustedIssuer> = {
  table: 'trusted_issuers',
  prefix: 'tis',
  name: 'trusted issuer',
  event: 'trusted_issuer',
  path: '/trusted-issuers',
  schema: { given: NewTrustedIssuer, record: TrustedIssuer, query: TrustedIssuerQuery },
  summaries: {
    make: 'Trust an issuer whose ID tokens agents may exchange',
    list: 'List trusted issuers, newest first',
    end: 'End the trust in an issuer; its ID tokens are refused from then on',
  },
  description:
    'The agents named may exchange ID tokens of this issuer as if the user had signed in here. A tenant trusts an issuer once: to change what is said of it, end the trust and register it anew. The accounts stay linked.',
  check: checkTrustedIssuer,
  make: makeTrustedIssuer,
  about: () => ({}),
}

async function checkTrustedIssuer(
  deps: Deps,
  { issuer, jwks_uri, clients }: NewTrustedIssuer,
): Promise<void> {
  const { issuer: self, allowLoopbackHttp } = deps.config
  if (parseWebUrl(issuer, allowLoopbackHttp) === undefined || issuer.includes('?')) {
    throw invalid('/issuer', 'must be an absolute https URL without userinfo, query and fragment')
  }
  if (normaliseUri(issuer) === normaliseUri(self)) {
    throw invalid('/issuer', 'is this server itself, whose ID tokens are taken anyway')
  }
  clients.forEach(({ client_id }, index) => {
    if (clients.findIndex((other) => other.client_id === client_id) < index) {
      throw invalid(`/clients/${index}/client_id`, 'is listed already')
    }
  })
  if (jwks_uri === undefined) return tryDiscovery(deps, issuer)
  if (parseWebUrl(jwks_uri, allowLoopbackHttp) === undefined) {
    throw invalid('/jwks_uri', 'must be an absolute https URL without userinfo and fragment')
  }
  const fault = deps.outbound.judge(jwks_uri)
  if (fault !== undefined) throw invalid('/jwks_uri', `cannot be called: ${fault}`)
}

/** So that whoever registers it learns at once that its keys will not be found. */
async function tryDiscovery({ outbound, config }: Deps, issuer: string): Promise<void> {
  const refusal = (fault: string) =>
    invalid('/issuer', `cannot be discovered: ${fault}; mend that, or give its jwks_uri`)
  const { json } = await outbound
    .getJson(discoveryUrl(issuer), { maxBytes: LONGEST_DOCUMENT })
    .catch((error) => {
      throw error instanceof OutboundError ? refusal(error.message) : error
    })
  const found = jwksUriOf(readProvider(json), issuer, config.allowLoopbackHttp)
  if ('fault' in found) throw refusal(found.fault)
  const fault = outbound.judge(found.uri)
  if (fault !== undefined) throw refusal(`its jwks_uri cannot be called: ${fault}`)
}

async function makeTrustedIssuer(
  tx: Db,
  deps: Deps,
  given: NewTrustedIssuer,
  admin: Admin,
): Promise<Rule<'trusted_issuers'>> {
  const { issuer, jwks_uri = null, clients, provisioning } = given
  const held = await holdNamed(tx, agentsOf(given))
  refuseGone(held)
  const [{ tenant_id }] = held
  if (given.tenant_id !== undefined && given.tenant_id !== tenant_id) {
    throw invalid('/tenant_id', 'is not the tenant of these agents')
  }
  const before = await findLiveTrustedIssuer(tx, { tenant_id, issuer })
  if (before?.expires_at && before.expires_at <= deps.now()) {
    await endRule(tx, deps, TRUSTED_ISSUERS, { id: before.id, admin })
  }
  const own = {
    tenant_id,
    issuer,
    jwks_uri,
    clients: JSON.stringify(clients),
    claim_mapping: JSON.stringify({ ...STANDARD_CLAIMS, ...given.claim_mapping }),
    provisioning,
    trust_auth_time: given.trust_auth_time ?? false,
    trust_contacts: given.trust_contacts ?? false,
  }
  return makeRule(tx, deps, TRUSTED_ISSUERS, { own, given, admin }).catch((error) => {
    if (violatedUnique(error) !== 'trusted_issuers_live') throw error
    const detail = 'This tenant trusts this issuer already: end that first'
    throw new ProblemError('already_exists', detail, { errors: [{ pointer: '/issuer', detail }] })
  })
}

/** Each agent once, where it is named first. The schema sees to it that there is one. */
function agentsOf({ clients }: NewTrustedIssuer): [Named, ...Named[]] {
  const named = new Map<string, Named>()
  clients.forEach(({ agent_ids }, client) => {
    agent_ids.forEach((id, index) => {
      const pointer = `/clients/${client}/agent_ids/${index}`
      if (!named.has(id)) named.set(id, { pointer, table: 'agents', id })
    })
  })
  return [...named.values()] as [Named, ...Named[]]
}

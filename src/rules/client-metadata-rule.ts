/**
 * Clients that may come without having been enrolled: their `client_id` is a URL, and what they publish there
 * says who they are (agents/recognise.ts).
 *
 *  1. A rule names one URL, or a host for all URLs on it, and is the only one live that does. It names the owner,
 *     purpose and end of the agents that come of it; they are agents like all others, and stay when it ends.
 *  2. The permission is asked for at every request. A mint rests on it without holding the rule: it holds the
 *     agent, and compares its version. So whoever ends a rule gives the agents that came of it another version.
 *  3. Locks: tenant, owner, rule, agents. Nobody who holds an agent goes for a rule.
 */
import { admitAgent, readmitAgent } from '../agents/admit.ts'
import {
  type ClientDocument,
  readClientDocument,
  UnfitDocument,
} from '../agents/client-documents.ts'
import { requireActiveOwner } from '../agents/gate.ts'
import { shareOwner } from '../agents/queries.ts'
import { byAdmin } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import { violatedUnique } from '../db/unique.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { OutboundError } from '../http/outbound.ts'
import { invalid, ProblemError } from '../http/problem.ts'
import { readFuture } from '../http/shapes.ts'
import { isMetadataHost, isMetadataUrl } from '../oauth/client-metadata.ts'
import { findLiveMetadataRule, touchAgentsOf } from './client-metadata-rule-queries.ts'
import {
  ClientMetadataRule,
  ClientMetadataRuleQuery,
  NewClientMetadataRule,
} from './client-metadata-rule-schema.ts'
import { endRule } from './end.ts'
import type { RuleKind } from './kind.ts'
import { makeRule } from './make.ts'
import { holdNamed } from './named.ts'
import type { Rule } from './rule.ts'

type Kind = RuleKind<'client_metadata_rules', NewClientMetadataRule, ClientDocument | undefined>

export const CLIENT_METADATA_RULES: Kind = {
  table: 'client_metadata_rules',
  prefix: 'cmr',
  name: 'client metadata rule',
  event: 'client_metadata_rule',
  path: '/client-metadata-rules',
  schema: {
    given: NewClientMetadataRule,
    record: ClientMetadataRule,
    query: ClientMetadataRuleQuery,
  },
  summaries: {
    make: 'Let clients come that are known by their client metadata document',
    list: 'List client metadata rules, newest first',
    end: 'End a client metadata rule; its clients are refused from then on',
  },
  description:
    'Such a client is an agent of ours: entitle, suspend and retire it like any other. What its document says of name, keys, redirect URIs and grant types is followed. Ending the rule keeps the agents, tells the relying apps where one acted that no other rule lets come, and what users allowed them counts again once a rule lets them come.',
  check: checkClientMetadataRule,
  make: makeClientMetadataRule,
  ended: touchAgentsOf,
  about: ({ owner_id }) => ({ user_id: owner_id }),
}

async function checkClientMetadataRule(
  deps: Deps,
  { url, host }: NewClientMetadataRule,
): Promise<ClientDocument | undefined> {
  const { allowLoopbackHttp } = deps.config
  if ((url === undefined) === (host === undefined)) throw invalid('', 'Give either url or host')
  if (host !== undefined && !isMetadataHost(host, allowLoopbackHttp)) {
    throw invalid('/host', 'must be a host in lower case, with its port unless that is 443')
  }
  if (url === undefined) return undefined
  if (!isMetadataUrl(url, allowLoopbackHttp)) {
    throw invalid(
      '/url',
      'must be an https URL in its usual form, with a path, without userinfo, fragment and dot segments',
    )
  }
  const document = await readClientDocument(deps, url).catch((error) => {
    if (error instanceof OutboundError) throw invalid('/url', `cannot be read: ${error.message}`)
    if (!(error instanceof UnfitDocument)) throw error
    throw invalid('/url', `is of a document that does not count: ${error.message}`)
  })
  const { jwks_uri } = document.metadata
  const fault = jwks_uri === undefined ? undefined : deps.outbound.judge(jwks_uri)
  if (fault === undefined) return document
  throw invalid('/url', `is of a document whose jwks_uri cannot be called: ${fault}`)
}

async function makeClientMetadataRule(
  tx: Db,
  deps: Deps,
  given: NewClientMetadataRule,
  admin: Admin,
  document: ClientDocument | undefined,
): Promise<Rule<'client_metadata_rules'> & { agent_id?: string }> {
  const { url = null, host = null, owner_id, purpose, environment = null } = given
  const at = deps.now()
  const agent_expires_at = readFuture('/agent_expires_at', given.agent_expires_at, at)
  const [{ tenant_id }] = await holdNamed(tx, [
    { pointer: '/owner_id', table: 'users', id: owner_id, take: shareOwner },
  ])
  if (given.tenant_id !== undefined && given.tenant_id !== tenant_id) {
    throw invalid('/tenant_id', 'is not the tenant of the owner')
  }
  await requireActiveOwner(tx, { tenant_id, owner_id })
  await endExpired(tx, deps, { url, host }, admin)
  const own = { tenant_id, url, host, owner_id, purpose, environment, agent_expires_at }
  const rule = await makeRule(tx, deps, CLIENT_METADATA_RULES, { own, given, admin }).catch(
    (error) => {
      throw twice(error) ?? error
    },
  )
  if (document === undefined) return rule
  const admission = { rule, document, actor: byAdmin(admin), at }
  const agent = (await admitAgent(tx, admission)) ?? (await readmitAgent(tx, admission))
  return { ...rule, agent_id: agent.id }
}

/** One whose time is over stands in the way of the next for the same. */
async function endExpired(
  tx: Db,
  deps: Deps,
  of: { url: string | null; host: string | null },
  admin: Admin,
): Promise<void> {
  const before = await findLiveMetadataRule(tx, of)
  if (before?.expires_at && before.expires_at <= deps.now()) {
    await endRule(tx, deps, CLIENT_METADATA_RULES, { id: before.id, admin })
  }
}

function twice(error: unknown): ProblemError | undefined {
  const [, member] = /^client_metadata_rules_(url|host)$/.exec(violatedUnique(error) ?? '') ?? []
  if (member === undefined) return undefined
  const detail = `There is a live rule for this ${member} already: end that first`
  return new ProblemError('already_exists', detail, {
    errors: [{ pointer: `/${member}`, detail }],
  })
}

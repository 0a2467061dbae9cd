import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid } from '../http/problem.ts'
import {
  ActorPermission,
  ActorPermissionQuery,
  NewActorPermission,
} from './actor-permission-schema.ts'
import type { RuleKind } from './kind.ts'
import { makeRule } from './make.ts'
import { holdNamed, type Named, refuseGone } from './named.ts'
import type { Rule } from './rule.ts'

/** Of one pair there may be several, for other users and audiences. */
export const ACTOR_PERMISSIONS: RuleKind<'actor_permissions', NewActorPermission> = {
  table: 'actor_permissions',
  prefix: 'apm',
  name: 'actor permission',
  event: 'actor_permission',
  path: '/actor-permissions',
  schema: { given: NewActorPermission, record: ActorPermission, query: ActorPermissionQuery },
  summaries: {
    make: 'Permit an agent to act for another agent',
    list: 'List actor permissions, newest first',
    end: 'End an actor permission',
  },
  description:
    'The actor may be named in an exchange of the agent, or of whoever acts for that agent. It adds no rights: scopes only shrink.',
  make: makeActorPermission,
  about: ({ agent_id, actor_id, user_id, audience_id }) => ({
    agent_id,
    user_id: user_id ?? undefined,
    audience_id: audience_id ?? undefined,
    detail: { actor_id },
  }),
}

async function makeActorPermission(
  tx: Db,
  deps: Deps,
  given: NewActorPermission,
  admin: Admin,
): Promise<Rule<'actor_permissions'>> {
  const { agent_id, actor_id, user_id = null, audience_id = null, scopes = null } = given
  if (agent_id === actor_id) throw invalid('/actor_id', 'must be another agent than agent_id')
  const named: [Named, ...Named[]] = [
    { pointer: '/agent_id', table: 'agents', id: agent_id },
    { pointer: '/actor_id', table: 'agents', id: actor_id },
  ]
  if (user_id !== null) named.push({ pointer: '/user_id', table: 'users', id: user_id })
  if (audience_id !== null) {
    named.push({ pointer: '/audience_id', table: 'audiences', id: audience_id })
  }
  const held = await holdNamed(tx, named)
  refuseGone(held)
  const { tenant_id } = held[0]
  const own = { tenant_id, agent_id, actor_id, user_id, audience_id, scopes }
  return makeRule(tx, deps, ACTOR_PERMISSIONS, { own, given, admin })
}

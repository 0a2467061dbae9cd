/**
 * A block forbids every ID-JAG for the user, agent and audience it names, together, whatever users allowed.
 *
 *  1. Commit order decides between a block and a mint (rule 3), although a mint that saw no block has no row
 *     of one to hold. It holds its user, agent and audience `for share` when it is recorded, and each must be
 *     the version that was read (token/spend-and-record.ts). So a block gives a row that it names another
 *     version: it waits for mints that hold the row, and one that comes later finds another version than it
 *     read, reads again, and sees the block.
 *  2. One row is enough, for a block is about mints that rest on all it names. It is the one that the fewest
 *     rest on: blocking a thousand users at one audience must not keep every mint there reading again.
 *  3. Ending one needs none of this: a mint that still saw it is refused, and the next one is not.
 */
import { touchAgent } from '../agents/queries.ts'
import { touchAudience } from '../audiences/queries.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import type { Admin } from '../http/admin-door.ts'
import { invalid } from '../http/problem.ts'
import { touchUser } from '../users/queries.ts'
import { Block, BlockQuery, NewBlock } from './block-schema.ts'
import type { RuleKind } from './kind.ts'
import { makeRule } from './make.ts'
import { holdNamed, type Named } from './named.ts'
import type { Rule } from './rule.ts'

export const BLOCKS: RuleKind<'blocks', NewBlock> = {
  table: 'blocks',
  prefix: 'blk',
  name: 'block',
  event: 'block',
  path: '/blocks',
  schema: { given: NewBlock, record: Block, query: BlockQuery },
  summaries: {
    make: 'Forbid a user, an agent, an audience, or some of them together',
    list: 'List blocks, newest first',
    end: 'End a block; what it forbade is possible again',
  },
  description:
    'When it answers, no ID-JAG is issued any more for what it names, whatever users have allowed. It ends no delegation: those count again once the block has ended.',
  make: makeBlock,
  about: ({ user_id, agent_id, audience_id }) => ({
    user_id: user_id ?? undefined,
    agent_id: agent_id ?? undefined,
    audience_id: audience_id ?? undefined,
  }),
}

const TOUCH = { users: touchUser, agents: touchAgent, audiences: touchAudience }

async function makeBlock(
  tx: Db,
  deps: Deps,
  given: NewBlock,
  admin: Admin,
): Promise<Rule<'blocks'>> {
  const { user_id = null, agent_id = null, audience_id = null } = given
  const [rarest, ...others] = namedBy({ users: user_id, agents: agent_id, audiences: audience_id })
  if (rarest === undefined) throw invalid('', 'Name at least one of user_id, agent_id, audience_id')
  const touched = { ...rarest, take: TOUCH[rarest.table] }
  const [{ tenant_id }] = await holdNamed(tx, [touched, ...others])
  const own = { tenant_id, user_id, agent_id, audience_id }
  return makeRule(tx, deps, BLOCKS, { own, given, admin })
}

/** From the one that the fewest mints rest on to the one that the most do. */
const namedBy = (ids: Record<Named['table'], string | null>): Named[] =>
  Object.entries(ids).flatMap(([table, id]) =>
    id === null
      ? []
      : [{ pointer: `/${table.slice(0, -1)}_id`, table: table as Named['table'], id }],
  )

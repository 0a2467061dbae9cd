import type { Decision } from '../policy/decide.ts'
import type { ActorFacts } from '../policy/facts.ts'
import type { ExplainRequest } from './explain-schema.ts'
import type { Facts } from './facts.ts'
import type { ExchangeRequest } from './request.ts'

/** What is known of an exchange that is explained, as far as it went. */
export type Circumstances = {
  asked: ExplainRequest
  request: ExchangeRequest
  facts: Facts
  actors?: readonly ActorFacts[]
  decision?: Exclude<Decision, { granted: true }>
}

/** What has to be so for an exchange not to be refused for one reason. */
export type Condition = {
  /** By its id in docs/protocol.md. */
  rule: string
  /** What is missing, of whatever request, and what would mend it. */
  missing: string
  /** The same of the one at hand, where that says more. */
  here?: (of: Circumstances) => string | undefined
  /** Id of the record that stands in the way, or would have to change. */
  record?: (of: Circumstances) => string | null | undefined
}

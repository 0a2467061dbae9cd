import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Deps } from '../deps.ts'
import { invalid } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { readInstant } from '../http/shapes.ts'
import { explain } from './explain.ts'
import { ExplainRequest, Explanation, LONGEST_TEXT } from './explain-schema.ts'
import { createGatherFacts } from './facts.ts'
import { createProveKey } from './prove-key.ts'

/** The same room at the admin door: what the token endpoint would answer, and why. */
export const explainRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const steps = { gatherFacts: createGatherFacts(deps.hot), proveKey: createProveKey(deps) }
  app.post(
    '/explain',
    {
      config: { scope: 'delegations:read' },
      schema: {
        tags: ['delegations'],
        summary: 'Say what a token exchange would be answered, and what is missing',
        description:
          'Asks what the token endpoint asks, in its order: the first thing that is wrong answers. Issues nothing, asks no user and changes nothing. Tokens and proofs are taken for good; limits of requests are not asked about.',
        body: ExplainRequest,
        response: { 200: Explanation, '4xx': Problem },
      },
    },
    async ({ body }) => {
      refuseLongDetails(body)
      const auth_time = body.auth_time ? readInstant('/auth_time', body.auth_time) : deps.now()
      return explain(deps, steps, body, auth_time)
    },
  )
}

/** On the wire it is text, and has this much room. @throws {ProblemError} */
function refuseLongDetails({ authorization_details }: ExplainRequest): void {
  if (typeof authorization_details !== 'object') return
  if (JSON.stringify(authorization_details).length > LONGEST_TEXT) {
    throw invalid('/authorization_details', `is longer than ${LONGEST_TEXT} characters as text`)
  }
}

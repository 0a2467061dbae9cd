import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { CLIENT_METADATA_RULES as KIND } from '../rules/client-metadata-rule.ts'
import { endMetadataRule } from './end-metadata-rule.ts'

/** Ends of rules that relying apps are told of. */
export const ruleEndRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.delete(
    `${KIND.path}/:id`,
    {
      config: { scope: 'rules:write' },
      schema: {
        tags: ['rules'],
        summary: KIND.summaries.end,
        params: Type.Object({ id: IdParam(KIND.name) }),
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async (request, reply) => {
      const { id } = request.params as { id: string }
      const { admin } = request
      await deps.db.transaction().execute((tx) => endMetadataRule(tx, deps, { id, admin }))
      return reply.code(204).send(null)
    },
  )
}

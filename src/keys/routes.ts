import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { byAdmin } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { ListQuery, listPage, readList } from '../http/list.ts'
import { Problem } from '../http/problem-schema.ts'
import { provenBy } from './proof.ts'
import { listKeys } from './queries.ts'
import { rotateKeys } from './rotate.ts'
import { RotateKeys, SigningKeys } from './schema.ts'

export const keyRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const listed = async (query: { limit: number; cursor?: string }) => {
    const rows = await listKeys(deps.db, readList(query))
    const page = listPage(
      rows.map((row) => ({ id: row.kid, ...row })),
      query.limit,
    )
    const proven = (key: (typeof rows)[number]) =>
      provenBy(deps.config.keyEncryptionKeys ?? [], key) !== undefined
    return {
      ...page,
      data: page.data.map(({ id: _, ...key }) => ({ ...key, proven: proven(key) })),
    }
  }

  app.get(
    '/keys',
    {
      config: { scope: 'keys:read' },
      schema: {
        summary: 'List signing keys',
        description: 'Every key there ever was, newest first. Private keys are never shown.',
        querystring: ListQuery,
        response: { 200: SigningKeys, '4xx': Problem },
      },
    },
    async (request) => listed(request.query),
  )

  app.post(
    '/keys/rotate',
    {
      config: { scope: 'keys:write' },
      schema: {
        summary: 'Rotate signing keys',
        description:
          'The next key signs from now on, the active one is retired, and a new next one is published. Of all keys, unless alg or purpose chooses some; all or nothing. A key may sign once it has been published for JWKS_CEILING; before that the answer is 409 too_early with ready_at.',
        body: RotateKeys,
        response: { 200: SigningKeys, '4xx': Problem },
      },
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async (request) => {
      const actor = byAdmin(request.admin)
      await rotateKeys(deps, request.body, { actor, request_id: request.id })
      return listed({ limit: 200 })
    },
  )
}

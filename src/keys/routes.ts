import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { byAdmin } from '../audit/record.ts'
import type { Deps } from '../deps.ts'
import { orNoBody } from '../http/admin-door.ts'
import { listPage, readList } from '../http/list.ts'
import { Problem } from '../http/problem-schema.ts'
import { listedKeys } from './listed.ts'
import { rewrapKeys } from './rewrap.ts'
import { rotateKeys } from './rotate.ts'
import { KeyQuery, RewrapKeys, Rewrapped, RotateKeys, SigningKeys } from './schema.ts'

export const keyRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const listed = async (query: { limit: number; cursor?: string }) => {
    const page = listPage(await listedKeys(deps, readList(query)), query.limit)
    return { ...page, data: page.data.map(({ id: _, ...key }) => key) }
  }

  app.get(
    '/keys',
    {
      config: { scope: 'keys:read' },
      schema: {
        summary: 'List signing keys',
        description: 'Every key there ever was, newest first. Private keys are never shown.',
        querystring: KeyQuery,
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
          'The next key signs from now on, the active one is retired, and a new next one is published. Of all keys, unless alg or purpose chooses some; all or nothing. A key may sign once it has been published for JWKS_CEILING; before that the answer is 409 too_early with ready_at. Keys are rotated without being asked every KEY_ROTATION_INTERVAL.',
        body: RotateKeys,
        response: { 200: SigningKeys, '4xx': Problem },
      },
      preValidation: orNoBody,
    },
    async (request) => {
      const actor = byAdmin(request.admin)
      await rotateKeys(deps, request.body, { actor, request_id: request.id })
      return listed({ limit: 200 })
    },
  )

  app.post(
    '/keys/rewrap',
    {
      config: { scope: 'keys:write' },
      schema: {
        summary: 'Encrypt private keys anew under the newest key encryption key',
        description:
          'After a new value was put before the others in KEY_ENCRYPTION_KEY of every replica. Nothing stops meanwhile, and the earlier values may be dropped afterwards.',
        body: RewrapKeys,
        response: { 200: Rewrapped, '4xx': Problem },
      },
      preValidation: orNoBody,
    },
    async (request) => rewrapKeys(deps, { actor: byAdmin(request.admin), request_id: request.id }),
  )
}

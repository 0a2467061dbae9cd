import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { invalid } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam, refuseFixed } from '../http/shapes.ts'
import { describeAudience } from './audience.ts'
import { changeAudience } from './change.ts'
import { discover, registerDiscovered } from './discover.ts'
import { listAudiences, requireAudience } from './queries.ts'
import { registerAudience } from './register.ts'
import {
  Audience,
  AudiencePatch,
  AudienceQuery,
  type NewAudience,
  RegisterAudience,
} from './schema.ts'

const tags = ['audiences']
const AudienceParams = Type.Object({ id: IdParam('audience') })
const another = 'retire this audience and register another'

/** Audiences. Suspending, retiring and approving another issuer end access, and live with revocation. */
export const audienceRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/audiences',
    {
      config: { scope: 'audiences:read' },
      schema: {
        summary: 'List the audiences',
        tags,
        querystring: AudienceQuery,
        response: { 200: ListOf(Audience), '4xx': Problem },
      },
    },
    async ({ query }) => {
      const page = listPage(await listAudiences(deps.db, query, readList(query)), query.limit)
      return { ...page, data: page.data.map(describeAudience) }
    },
  )

  app.post(
    '/audiences',
    {
      config: { scope: 'audiences:write' },
      preValidation: requireMembers,
      schema: {
        summary: 'Register an audience, or discover one',
        description:
          'Either all of issuer, name, profile and resources, or `discover`: then its metadata is read, and what was found is answered as a suspended audience that awaits approval.',
        tags,
        body: RegisterAudience,
        response: { 201: Audience, '4xx': Problem },
      },
    },
    async (request, reply) => {
      const given = request.body
      if (!('discover' in given)) {
        return createOnce<Audience>(deps, request, reply, [], (tx) =>
          registerAudience(tx, deps, given, request.admin),
        )
      }
      const found = await discover(deps, given)
      return createOnce<Audience>(deps, request, reply, [], (tx) => {
        if ('refusal' in found) throw found.refusal
        return registerDiscovered(tx, deps, given, found.walked, request.admin)
      })
    },
  )

  app.get(
    '/audiences/:id',
    {
      config: { scope: 'audiences:read' },
      schema: {
        summary: 'Read an audience',
        tags,
        params: AudienceParams,
        response: { 200: Audience, '4xx': Problem },
      },
    },
    async ({ params }) => requireAudience(deps.db, params.id),
  )

  app.patch(
    '/audiences/:id',
    {
      config: { scope: 'audiences:write' },
      preValidation: refuseFixed({
        issuer: another,
        profile: another,
        subject_type: another,
        sector: another,
        tenant_id: another,
        status: 'call suspend, resume or retire',
      }),
      schema: {
        summary: 'Change an audience',
        tags,
        params: AudienceParams,
        body: AudiencePatch,
        response: { 200: Audience, '4xx': Problem },
      },
    },
    async ({ params, body, admin }) =>
      deps.db.transaction().execute((tx) => changeAudience(tx, deps, params.id, body, admin)),
  )
}

const REQUIRED: readonly (keyof NewAudience)[] = ['issuer', 'name', 'profile', 'resources']

/** A `preValidation` hook, for the schema would say it less plainly. @throws {ProblemError} `validation_failed` */
async function requireMembers({ body }: FastifyRequest): Promise<void> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return
  const missing = REQUIRED.find((name) => !Object.hasOwn(body, name))
  if (missing === undefined || Object.hasOwn(body, 'discover')) return
  throw invalid(`/${missing}`, 'is missing; without discover it is required')
}

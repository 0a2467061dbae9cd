import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam, refuseFixed } from '../http/shapes.ts'
import { describeAudience } from './audience.ts'
import { changeAudience } from './change.ts'
import { findAudience, listAudiences } from './queries.ts'
import { registerAudience } from './register.ts'
import { Audience, AudiencePatch, AudienceQuery, NewAudience } from './schema.ts'
import { refuseDiscovery } from './unbuilt.ts'

const tags = ['audiences']
const AudienceParams = Type.Object({ id: IdParam('audience') })
const another = 'retire this audience and register another'

/** Audiences. Suspending and retiring end access, and live with revocation. */
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
      preValidation: refuseDiscovery,
      schema: {
        summary: 'Register an audience',
        tags,
        body: NewAudience,
        response: { 201: Audience, '4xx': Problem },
      },
    },
    async (request, reply) =>
      createOnce<Audience>(deps, request, reply, [], (tx) =>
        registerAudience(tx, deps, request.body, request.admin),
      ),
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
    async ({ params }) => {
      const audience = await findAudience(deps.db, params.id)
      if (audience === undefined) throw notFound('audience')
      return describeAudience(audience)
    },
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

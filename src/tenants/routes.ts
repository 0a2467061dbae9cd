import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { createTenant } from './create.ts'
import { findTenant, listTenants } from './queries.ts'
import { NewTenant, Tenant, TenantQuery } from './schema.ts'

const tags = ['tenants']

/** Tenants. Suspending one is a revocation, and lives there. */
export const tenantRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/tenants',
    {
      config: { scope: 'tenants:read' },
      schema: {
        summary: 'List the tenants',
        tags,
        querystring: TenantQuery,
        response: { 200: ListOf(Tenant), '4xx': Problem },
      },
    },
    async ({ query }) => listPage(await listTenants(deps.db, query, readList(query)), query.limit),
  )

  app.post(
    '/tenants',
    {
      config: { scope: 'tenants:write' },
      schema: {
        summary: 'Make a tenant',
        tags,
        body: NewTenant,
        response: { 201: Tenant, '4xx': Problem },
      },
    },
    async (request, reply) =>
      createOnce<Tenant>(deps, request, reply, [], (tx) =>
        createTenant(tx, deps, request.body, request.admin),
      ),
  )

  app.get(
    '/tenants/:id',
    {
      config: { scope: 'tenants:read' },
      schema: {
        summary: 'Read a tenant',
        tags,
        params: Type.Object({ id: IdParam('tenant') }),
        response: { 200: Tenant, '4xx': Problem },
      },
    },
    async ({ params }) => {
      const tenant = await findTenant(deps.db, params.id)
      if (tenant === undefined) throw notFound('tenant')
      return tenant
    },
  )
}

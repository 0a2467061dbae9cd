import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam } from '../http/shapes.ts'
import { ACTOR_PERMISSIONS } from './actor-permission.ts'
import { BLOCKS } from './block.ts'
import { CLIENT_METADATA_RULES } from './client-metadata-rule.ts'
import { endRule } from './end.ts'
import type { RuleKind } from './kind.ts'
import { listRules } from './queries.ts'
import { describeRule, type RuleTable } from './rule.ts'
import type { RuleQuery } from './schema.ts'
import { TRUSTED_ISSUERS } from './trusted-issuer.ts'
import { upstreamAccountRoutes } from './upstream-account-routes.ts'

const tags = ['rules']

/** Rules at the admin door: of each kind one makes, lists and ends them. */
export const ruleRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  for (const declare of [declareKind, declareEnd]) {
    declare(app, deps, BLOCKS)
    declare(app, deps, ACTOR_PERMISSIONS)
    declare(app, deps, TRUSTED_ISSUERS)
  }
  // Its end is told of, and so lives with revocation (revoke/rule-routes.ts).
  declareKind(app, deps, CLIENT_METADATA_RULES)
  await app.register(upstreamAccountRoutes, deps)
}

function declareKind<Table extends RuleTable, Given, Found>(
  app: FastifyInstance,
  deps: Deps,
  kind: RuleKind<Table, Given, Found>,
): void {
  const { path, schema, summaries, description } = kind

  app.post(
    path,
    {
      config: { scope: 'rules:write' },
      schema: {
        tags,
        summary: summaries.make,
        ...(description === undefined ? {} : { description }),
        body: schema.given,
        response: { 201: schema.record, '4xx': Problem },
      },
    },
    async (request, reply) => {
      const given = request.body as Given
      const found = (await kind.check?.(deps, given)) as Found
      return createOnce(deps, request, reply, [], async (tx) =>
        describeRule(await kind.make(tx, deps, given, request.admin, found), deps.now()),
      )
    },
  )

  app.get(
    path,
    {
      config: { scope: 'rules:read' },
      schema: {
        tags,
        summary: summaries.list,
        querystring: schema.query,
        response: { 200: ListOf(schema.record), '4xx': Problem },
      },
    },
    async (request) => {
      const now = deps.now()
      const query = request.query as RuleQuery
      // What the kind's query adds are columns of its table.
      const { limit, cursor: _cursor, status, ...named } = query
      const rows = await listRules(deps.db, kind.table, { status, named }, readList(query), now)
      const page = listPage(rows, limit)
      return { ...page, data: page.data.map((rule) => describeRule(rule, now)) }
    },
  )
}

function declareEnd<Table extends RuleTable, Given, Found>(
  app: FastifyInstance,
  deps: Deps,
  kind: RuleKind<Table, Given, Found>,
): void {
  const { path, summaries } = kind
  app.delete(
    `${path}/:id`,
    {
      config: { scope: 'rules:write' },
      schema: {
        tags,
        summary: summaries.end,
        params: Type.Object({ id: IdParam(kind.name) }),
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async (request, reply) => {
      const { id } = request.params as { id: string }
      const { admin } = request
      await deps.db.transaction().execute((tx) => endRule(tx, deps, kind, { id, admin }))
      return reply.code(204).send(null)
    },
  )
}

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { createOnce } from '../http/idempotency.ts'
import { ListOf, listPage, readList } from '../http/list.ts'
import { notFound } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { IdParam, refuseFixed } from '../http/shapes.ts'
import { addCredential } from './add-credential.ts'
import { describeAgent, describeCredential } from './agent.ts'
import { changeAgent } from './change.ts'
import { listCredentials } from './credential-queries.ts'
import { endCredential } from './end-credential.ts'
import { enrolAgent } from './enrol.ts'
import { findAgent, listAgents } from './queries.ts'
import {
  Agent,
  AgentPatch,
  AgentQuery,
  CreatedAgent,
  Credential,
  CredentialQuery,
  NewAgent,
  NewCredential,
} from './schema.ts'

const tags = ['agents']
const AgentParams = Type.Object({ id: IdParam('agent') })

/** Agents and their credentials. Suspending and retiring end access, and live with revocation. */
export const agentRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/agents',
    {
      config: { scope: 'agents:read' },
      schema: {
        summary: 'List the agents',
        tags,
        querystring: AgentQuery,
        response: { 200: ListOf(Agent), '4xx': Problem },
      },
    },
    async ({ query }) => {
      const page = listPage(await listAgents(deps.db, query, readList(query)), query.limit)
      return { ...page, data: page.data.map(describeAgent) }
    },
  )

  app.post(
    '/agents',
    {
      config: { scope: 'agents:write' },
      schema: {
        summary: 'Enrol an agent; a generated secret is shown once',
        tags,
        body: NewAgent,
        response: { 201: CreatedAgent, '4xx': Problem },
      },
    },
    async (request, reply) =>
      createOnce<CreatedAgent>(deps, request, reply, ['client_secret'], (tx) =>
        enrolAgent(tx, deps, request.body, request.admin),
      ),
  )

  app.get(
    '/agents/:id',
    {
      config: { scope: 'agents:read' },
      schema: {
        summary: 'Read an agent',
        tags,
        params: AgentParams,
        response: { 200: Agent, '4xx': Problem },
      },
    },
    async ({ params }) => {
      const agent = await findAgent(deps.db, params.id)
      if (agent === undefined) throw notFound('agent')
      return describeAgent(agent)
    },
  )

  app.patch(
    '/agents/:id',
    {
      config: { scope: 'agents:write' },
      preValidation: refuseFixed({
        token_endpoint_auth_method: 'enrol another agent',
        tenant_id: 'enrol another agent',
        jwks: 'add and end its credentials',
        status: 'call approve, suspend, resume or retire',
      }),
      schema: {
        summary: 'Change an agent',
        tags,
        params: AgentParams,
        body: AgentPatch,
        response: { 200: Agent, '4xx': Problem },
      },
    },
    async ({ params, body, admin }) =>
      deps.db.transaction().execute((tx) => changeAgent(tx, deps, params.id, body, admin)),
  )

  app.get(
    '/agents/:id/credentials',
    {
      config: { scope: 'agents:read' },
      schema: {
        summary: 'List the credentials of an agent, ended ones too',
        tags,
        params: AgentParams,
        querystring: CredentialQuery,
        response: { 200: ListOf(Credential), '4xx': Problem },
      },
    },
    async ({ params, query }) => {
      const agent = await findAgent(deps.db, params.id)
      if (agent === undefined) throw notFound('agent')
      const rows = await listCredentials(deps.db, agent.id, query, readList(query))
      const page = listPage(rows, query.limit)
      return { ...page, data: page.data.map(describeCredential) }
    },
  )

  app.post(
    '/agents/:id/credentials',
    {
      config: { scope: 'agents:write' },
      schema: {
        summary: 'Give an agent another key or secret; the secret is shown once',
        tags,
        params: AgentParams,
        body: NewCredential,
        response: { 201: Credential, '4xx': Problem },
      },
    },
    async (request, reply) =>
      createOnce<Credential>(deps, request, reply, ['client_secret'], (tx) =>
        addCredential(tx, deps, request.params.id, request.body, request.admin),
      ),
  )

  app.delete(
    '/agents/:id/credentials/:credential_id',
    {
      config: { scope: 'agents:write' },
      schema: {
        summary: 'End a credential',
        tags,
        params: Type.Object({ id: IdParam('agent'), credential_id: IdParam('credential') }),
        response: { 204: Type.Null(), '4xx': Problem },
      },
    },
    async (request, reply) => {
      const { id, credential_id } = request.params
      await deps.db
        .transaction()
        .execute((tx) =>
          endCredential(tx, deps, { agent_id: id, id: credential_id }, request.admin),
        )
      return reply.code(204).send(null)
    },
  )
}

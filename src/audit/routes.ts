import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Deps } from '../deps.ts'
import { ListOf } from '../http/list.ts'
import { invalid } from '../http/problem.ts'
import { Problem } from '../http/problem-schema.ts'
import { readInstant } from '../http/shapes.ts'
import { readKnownHead } from './chain.ts'
import { logPage, readLogCursor } from './page.ts'
import { listAuditEvents, listIssuances, listSealHeads } from './queries.ts'
import {
  AuditEvent,
  AuditEventQuery,
  Issuance,
  IssuanceQuery,
  type LogQuery,
  Seal,
  SealQuery,
  Verdict,
  VerifyQuery,
} from './schema.ts'
import { verifyLog } from './verify.ts'

const tags = ['audit']
const config = { scope: 'audit:read' } as const

/** The log, for auditors. It is read here and written by nobody from outside. */
export const auditRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/issuances',
    {
      config,
      schema: {
        summary: 'List the ID-JAGs issued',
        tags,
        querystring: IssuanceQuery,
        response: { 200: ListOf(Issuance), '4xx': Problem },
      },
    },
    async ({ query }) =>
      logPage(await listIssuances(deps.db, readPart(query)), query.limit, ({ jti }) => jti),
  )

  app.get(
    '/audit-events',
    {
      config,
      schema: {
        summary: 'List what happened and what was refused',
        tags,
        querystring: AuditEventQuery,
        response: { 200: ListOf(AuditEvent), '4xx': Problem },
      },
    },
    async ({ query }) =>
      logPage(await listAuditEvents(deps.db, readPart(query)), query.limit, ({ id }) => id),
  )

  app.get(
    '/audit-events/verify',
    {
      config,
      schema: {
        summary: 'Verify the whole log: issuances, events and seals',
        tags,
        querystring: VerifyQuery,
        response: { 200: Verdict, '4xx': Problem },
      },
    },
    async ({ query }, reply) => {
      // It says nothing until it is done, which may take longer than a connection may be still.
      reply.raw.on('timeout', () => undefined)
      return verifyLog(deps, readHead(query.head))
    },
  )

  app.get(
    '/seals',
    {
      config,
      schema: {
        summary: 'List the seals, to keep their heads elsewhere',
        tags,
        querystring: SealQuery,
        response: { 200: ListOf(Seal), '4xx': Problem },
      },
    },
    async ({ query: { limit, cursor } }) => {
      const before = readLogCursor(cursor)
      if (before && !/^\d{1,15}$/.test(before)) throw invalid('/cursor', 'is of another list')
      return logPage(
        await listSealHeads(deps.db, { limit, before }),
        limit,
        (seal) => seal.position,
      )
    },
  )
}

function readPart({ cursor, from, to, ...part }: LogQuery) {
  return {
    ...part,
    before: readLogCursor(cursor),
    from: from === undefined ? undefined : readInstant('/from', from),
    to: to === undefined ? undefined : readInstant('/to', to),
  }
}

function readHead(text: string | undefined) {
  if (text === undefined) return undefined
  const head = readKnownHead(text)
  if (!head) throw invalid('/head', 'is not a hash of 64 hexadecimal digits, or position:hash')
  return head
}

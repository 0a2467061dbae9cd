import { readdir } from 'node:fs/promises'
import type { FastifyPluginAsync } from 'fastify'
import type pg from 'pg'
import Type from 'typebox'
import { agree } from '../db/clock.ts'
import type { Metrics } from './metrics.ts'
import { Problem } from './problem-schema.ts'
import { within } from './within.ts'

type Surroundings = {
  pool: Pick<pg.Pool, 'query'>
  keys: { ready(): boolean }
  now: () => Date
}

const tags = ['operations']
/** Milliseconds for the database to answer. */
const PATIENCE = 2_000
const MIGRATIONS = new URL('../../migrations/', import.meta.url)

const Check = Type.Object(
  {
    ok: Type.Boolean({ description: 'Whether this replica may be given requests' }),
    failed: Type.Optional(
      Type.Array(Type.String(), {
        description: 'database, migrations, clock, keys: the checks that failed',
        examples: [['clock']],
      }),
    ),
  },
  { additionalProperties: false },
)

/** Whether the process lives, and whether it may be given requests. Open to everyone, and tells them no more. */
export const operationsRoutes: FastifyPluginAsync<Surroundings> = async (app, deps) => {
  const expected = await listMigrations()
  let checking: ReturnType<typeof findFailures> | undefined

  app.get(
    '/livez',
    { schema: { summary: 'Whether the process lives', tags, response: { 200: Check } } },
    async (_request, reply) => {
      reply.header('cache-control', 'no-store')
      return { ok: true }
    },
  )

  app.get(
    '/readyz',
    {
      schema: {
        summary: 'Whether this replica may be given requests',
        tags,
        response: { 200: Check, 503: Check },
      },
    },
    async (request, reply) => {
      reply.header('cache-control', 'no-store')
      // Anyone may ask, so that however many do, the database is asked by one at a time.
      checking ??= findFailures(deps, expected, (error) =>
        request.log.warn({ err: error }, 'the database does not answer'),
      ).finally(() => {
        checking = undefined
      })
      const failed = await checking
      if (failed.length === 0) return { ok: true }
      return reply.code(503).send({ ok: false, failed })
    },
  )
}

/** Stands inside the admin door's guard. */
export const metricsRoutes: FastifyPluginAsync<{ metrics: Metrics }> = async (app, { metrics }) => {
  app.get(
    '/metrics',
    {
      config: { scope: 'metrics:read' },
      schema: {
        summary: 'Counts and gauges, for Prometheus',
        tags,
        produces: ['text/plain'],
        response: { 200: Type.String(), '4xx': Problem },
      },
    },
    async (_request, reply) => {
      const { contentType, body } = await metrics.expose()
      return reply
        .header('content-type', contentType)
        .header('cache-control', 'no-store')
        .send(body)
    },
  )
}

async function findFailures(
  { pool, keys, now }: Surroundings,
  expected: string[],
  onError: (error: unknown) => void,
): Promise<string[]> {
  const failed = keys.ready() ? [] : ['keys']
  const asked = now().getTime()
  const answer = await askDatabase(pool, expected).catch(onError)
  const answered = now().getTime()
  if (!answer) return ['database', ...failed]
  if (answer.missing > 0) failed.push('migrations')
  if (!agree(answer.at.getTime(), { asked, answered })) failed.push('clock')
  return failed
}

async function askDatabase(pool: Surroundings['pool'], expected: string[]) {
  const answer = pool.query<{ at: Date; missing: number }>(
    `select clock_timestamp() as at, cardinality($1::text[])::integer -
       (select count(*)::integer from kysely_migration where name = any($1::text[])) as missing`,
    [expected],
  )
  const late = () => new Error('no answer from the database in time')
  return (await within(PATIENCE, answer, late)).rows[0]
}

/** Those this release knows. Newer ones may be there already: old code has to run after them. */
async function listMigrations(): Promise<string[]> {
  const files = await readdir(MIGRATIONS)
  return files.filter((file) => file.endsWith('.ts')).map((file) => file.slice(0, -'.ts'.length))
}

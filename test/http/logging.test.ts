import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { SignJWT } from 'jose'
import { sql } from 'kysely'
import { problemErrorHandler } from '../../src/http/admin-door.ts'
import { bearerErrorHandler } from '../../src/http/bearer-door.ts'
import { oauthErrorHandler } from '../../src/http/client-door.ts'
import { createLogger, observeRequests } from '../../src/http/logging.ts'
import { ProblemError } from '../../src/http/problem.ts'
import { ssfErrorHandler } from '../../src/http/ssf-door.ts'
import { OAuthError } from '../../src/oauth/errors.ts'
import { openHouse } from '../support/house.ts'

const SECRET = 'correct-horse-battery-staple'

function listen(logLevel = 'debug', logFormat: 'json' | 'pretty' = 'json') {
  const said: string[] = []
  const stream = new Writable({
    decodeStrings: false,
    write: (line, _encoding, done) => {
      said.push(String(line))
      done()
    },
  })
  const log = createLogger({ logLevel, logFormat }, stream)
  const lines = () => said.map((line) => JSON.parse(line))
  return { log, said, lines }
}

async function serve(logLevel?: string) {
  const ears = listen(logLevel)
  const app = Fastify({
    loggerInstance: ears.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
  })
  observeRequests(app, { answered() {} })
  return { ...ears, app }
}

test('a request is one line: method, route, path without the query, status and time', async () => {
  const { app, lines, said } = await serve()
  app.get('/callback/:id', async (_request, reply) => reply.code(204).send())
  await app.inject({
    url: `/callback/7?code=${SECRET}&state=${SECRET}`,
    headers: { authorization: `Bearer ${SECRET}`, cookie: SECRET, dpop: SECRET },
  })
  const [line, ...more] = lines()
  assert.equal(more.length, 0)
  const { level, time, reqId, ms, ...rest } = line
  assert.deepEqual(rest, {
    method: 'GET',
    route: '/callback/:id',
    path: '/callback/7',
    status: 204,
    msg: 'request',
  })
  assert.equal(level, 30)
  assert.ok(reqId && Date.parse(time) > 0 && ms >= 0)
  assert.equal(said.join().includes(SECRET), false)
})

test('probes and scrapes are told at debug only', async () => {
  const { app, lines } = await serve()
  for (const url of ['/livez', '/readyz', '/metrics']) app.get(url, async () => ({}))
  for (const url of ['/livez', '/readyz?x', '/metrics', '/nowhere']) await app.inject(url)
  assert.deepEqual(
    lines().map(({ level, path }) => [level, path]),
    [
      [20, '/livez'],
      [20, '/readyz'],
      [20, '/metrics'],
      [30, '/nowhere'],
    ],
  )
})

test('whoever logs a request or its headers gives away no credential', async () => {
  const { app, said } = await serve()
  app.post('/', async (request) => {
    request.log.info({ req: request }, 'a')
    request.log.info({ req: request.raw }, 'b')
    request.log.info({ headers: request.headers }, 'c')
    request.log.info({ body: request.body }, 'd')
    request.log.info({ req: { headers: request.headers, body: request.body } }, 'e')
    return {}
  })
  await app.inject({
    method: 'POST',
    url: `/?code=${SECRET}`,
    headers: {
      authorization: SECRET,
      cookie: SECRET,
      'set-cookie': SECRET,
      dpop: SECRET,
      'proxy-authorization': SECRET,
    },
    payload: { password: SECRET },
  })
  assert.equal(said.length, 6)
  assert.equal(said.join().includes(SECRET), false)
})

test('what a handler throws is logged without what it quotes', async (t) => {
  const { deps } = await openHouse(t)
  const token = await new SignJWT({ sub: SECRET })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(Buffer.alloc(32))
  const { log, said, lines } = listen()
  const provoke = async (statement: ReturnType<typeof sql>) =>
    statement.execute(deps.db).then(
      () => assert.fail('it was let through'),
      (error: Error) => log.error({ err: error }, 'failed'),
    )
  await provoke(sql`select ${SECRET}::integer`)
  await provoke(sql`select ${SECRET}::jsonb`)
  await provoke(sql`select ${SECRET}::timestamptz`)
  await provoke(
    sql`insert into tenants (id, name) values ('ten_AAAAAAAAAAAAAAAAAAAAAA', ${SECRET})`,
  )
  await provoke(sql`insert into tenants (id, name) values (${SECRET}, 'x')`)
  await provoke(
    sql`insert into users (id, tenant_id, email) values ('usr_AAAAAAAAAAAAAAAAAAAAAA', ${SECRET}, ${SECRET})`,
  )
  try {
    JSON.parse(SECRET)
  } catch (error) {
    log.error({ err: new Error('wrapped', { cause: error }) }, 'failed')
  }
  log.error({ err: new TypeError(`bad token ${token}`) }, 'failed')
  log.error(new Error(`bad secret ${Buffer.from(SECRET.repeat(3)).toString('base64url')}`))
  log.error({ err: new Error(`Bearer ${token}`) })
  log.error(
    { error: Object.assign(new Error('failed'), { detail: SECRET, config: { SECRET } }) },
    'failed',
  )
  log.error({ err: { password: SECRET } }, 'failed')

  assert.equal(said.length, 12)
  for (const line of said) {
    assert.equal(line.includes(SECRET), false, line)
    assert.equal(line.includes(token.slice(0, 30)), false, line)
    assert.equal(line.includes(Buffer.from(SECRET).toString('base64url').slice(0, 20)), false, line)
  }
  const [integer, , , unique] = lines()
  assert.equal(integer.err.code, '22P02')
  assert.match(integer.err.stack, /^at /)
  assert.equal(unique.err.code, '23505')
  assert.equal(unique.err.constraint, 'tenants_pkey')
  assert.match(unique.err.message, /duplicate key/)
})

test('pretty is for people, and redacts as well', () => {
  const { log, said } = listen('info', 'pretty')
  log.info({ headers: { authorization: SECRET } }, 'it happened')
  assert.match(said.join(''), /it happened/)
  assert.equal(said.join('').includes(SECRET), false)
})

test('the level is the one that was set', () => {
  const { log, said } = listen('warn')
  log.info('no')
  log.warn('yes')
  assert.equal(said.length, 1)
})

test('the subject of a trusted issuer, an address at some, is not in the path that is told', async () => {
  const { app, said } = await serve()
  app.delete('/admin/v1/trusted-issuers/:id/accounts/:subject', async (_request, reply) =>
    reply.code(204).send(),
  )
  await app.inject({
    method: 'DELETE',
    url: '/admin/v1/trusted-issuers/tis_1/accounts/kim%40orbit.example',
  })
  assert.equal(said.join().includes('orbit.example'), false)
  assert.ok(said.join().includes('/trusted-issuers/tis_1/accounts/-'))
})

test('whoever is told to come back later fails nothing; what failed, or was caused, is an error (EV-14)', async () => {
  const { app, lines } = await serve()
  const doors = [problemErrorHandler, oauthErrorHandler, bearerErrorHandler, ssfErrorHandler]
  for (const [at, handler] of doors.entries()) {
    for (const [what, cause] of [
      ['awaited', undefined],
      ['failed', new Error('the disk is full')],
    ] as const) {
      app.register(async (door) => {
        door.setErrorHandler(handler as typeof problemErrorHandler)
        door.get(`/${what}/${at}`, async () => {
          if (at === 0) throw new ProblemError('unavailable', 'Later', { cause })
          throw new OAuthError('temporarily_unavailable', 'Later', { cause })
        })
      })
    }
  }
  for (const at of doors.keys()) {
    assert.equal((await app.inject(`/awaited/${at}`)).statusCode, 503)
    assert.equal((await app.inject(`/failed/${at}`)).statusCode, 503)
  }
  const told = lines().filter(({ msg }) => msg !== 'request')
  assert.equal(told.length, 2 * doors.length)
  for (const { level, err, msg, refusal, why } of told) {
    if (level === 30) assert.deepEqual([err, msg], [undefined, 'asked to come back later'])
    else assert.deepEqual([level, err.message, msg], [50, 'the disk is full', 'request failed'])
    if (level === 30) assert.match(`${refusal} ${why}`, /unavailable Later$/)
  }
  assert.equal(told.filter(({ level }) => level === 30).length, doors.length)
})

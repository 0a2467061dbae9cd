import { randomBytes } from 'node:crypto'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { createApp } from '../../src/app.ts'
import { type Config, loadConfig } from '../../src/config.ts'
import { openHotPool, openPool } from '../../src/db/pool.ts'
import type { Deps } from '../../src/deps.ts'
import { createLogger } from '../../src/http/logging.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import { createOutbound, parseAllowList } from '../../src/http/outbound.ts'
import { createTally } from '../../src/http/tally.ts'
import { openCustody } from '../../src/keys/open-custody.ts'
import { openKeyRing } from '../../src/keys/open-key-ring.ts'
import { keyPairsFor } from './key-pairs.ts'
import { createTestDatabase, type TestDatabase } from './postgres.ts'

export const ADMIN_KEY = 'test-admin-key-0123456789-0123456789'
export const ISSUER = 'http://localhost:4000'

export type Answer = {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  body: any
  headers: Record<string, unknown>
  text: string
}

/** What callers find of a server, be it in this process or another. */
export type Doors = {
  config: Pick<Config, 'issuer'>
  clock: { readonly now: Date }
  inject(options: Ask): Promise<Answer>
  admin(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer>
  form(path: string, fields: Form, headers?: Record<string, string>): Promise<Answer>
}
/** A request, as `app.inject` takes it. */
export type Ask = Pick<InjectOptions, 'method' | 'url' | 'headers' | 'payload'>

/** A whole server on a database of its own, with a clock that the test sets. */
export type House = Doors & {
  app: FastifyInstance
  deps: Deps
  config: Config
  /** Moves the clock by so many seconds; time stands still otherwise. */
  wait(seconds: number): void
  clock: { now: Date }
  logs: string[]
}
export type Form = Record<string, string | string[] | undefined>

type Surroundings = { after(end: () => Promise<void>): void }

export async function openHouse(
  t: Surroundings,
  environment: NodeJS.ProcessEnv = {},
): Promise<House> {
  return openHouseOn(await createTestDatabase(), t, environment)
}

/** Two servers on one database and of one issuer, as replicas are, with the clock of the machine. */
export async function openHouses(
  t: Surroundings,
  environment: NodeJS.ProcessEnv = {},
): Promise<[House, House]> {
  const database = await createTestDatabase()
  const shared = { KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'), ...environment }
  const clock = {
    get now() {
      return new Date()
    },
    set now(_) {
      throw new Error('this clock runs by itself')
    },
  }
  const one = await openHouseOn(database, t, shared, clock)
  return [one, await openHouseOn(database, t, shared, clock)]
}

async function openHouseOn(
  database: TestDatabase,
  t: Surroundings,
  environment: NodeJS.ProcessEnv,
  clock = { now: new Date(Math.floor(Date.now() / 1000) * 1000) },
): Promise<House> {
  const config = loadConfig({
    ISSUER,
    DATABASE_URL: 'postgres://unused',
    ADMIN_API_KEY: ADMIN_KEY,
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    LOG_LEVEL: 'debug',
    ...environment,
  })
  const logs: string[] = []
  const log = createLogger(config, { write: (line: string) => void logs.push(line) })
  const now = () => new Date(clock.now)
  const { pool, db } = openPool(database.connection, () => undefined, 8)
  const hot = openHotPool(database.connection, () => undefined)
  const custody = await openCustody(config, keyPairsFor(database.url))
  // The clock of the test is right, whatever that of the database says.
  const clockSkew = async () => 0
  const keys = await openKeyRing({ db, config, now, clockSkew, log, custody })
  const outbound = createOutbound({
    allow: parseAllowList(config.outboundAllow),
    allowLoopbackHttp: config.allowLoopbackHttp,
  })
  const deps: Deps = {
    config,
    db,
    pool,
    hot,
    keys,
    custody,
    outbound,
    now,
    clockSkew,
    log,
    metrics: createMetrics({ pool, hot }),
    tally: createTally({ pool, config, now }),
  }
  const app = await createApp(deps)
  t.after(async () => {
    await app.close()
    keys.close()
    await db.destroy()
    await hot.end()
    await database.drop()
  })

  const inject = async (options: Ask): Promise<Answer> => {
    const answer = await app.inject(options)
    const json = /json/.test(String(answer.headers['content-type'] ?? ''))
    return {
      status: answer.statusCode,
      body: json && answer.body !== '' ? JSON.parse(answer.body) : undefined,
      headers: answer.headers,
      text: answer.body,
    }
  }
  return {
    app,
    deps,
    config,
    clock,
    logs,
    wait: (seconds) => {
      clock.now = new Date(clock.now.getTime() + seconds * 1000)
    },
    inject,
    ...callsBy(inject),
  }
}

/** The two usual kinds of request. */
export function callsBy(inject: Doors['inject']): Pick<Doors, 'admin' | 'form'> {
  return {
    admin: (method, path, body, headers = {}) =>
      inject({
        method: method as 'GET',
        url: `/admin/v1${path}`,
        headers: {
          authorization: `Bearer ${ADMIN_KEY}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
      }),
    form: (path, fields, headers = {}) =>
      inject({
        method: 'POST',
        url: path,
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        payload: formBody(fields),
      }),
  }
}

export function formBody(fields: Form): string {
  const body = new URLSearchParams()
  for (const [name, values] of Object.entries(fields)) {
    for (const value of [values].flat()) if (value !== undefined) body.append(name, value)
  }
  return body.toString()
}

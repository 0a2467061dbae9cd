import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import manifest from '../../package.json' with { type: 'json' }
import { createApp } from '../app.ts'
import { loadConfig } from '../config.ts'
import type { Deps } from '../deps.ts'
import { collectRoutes, openApiDocument } from '../http/openapi.ts'
import type { OpenApiDocument, Route } from '../http/openapi-document.ts'

/** The document of this release, from the routes as they are registered: no database, nothing listens. */
export const apiDocument = async (): Promise<OpenApiDocument> =>
  openApiDocument(await appRoutes(), { version: manifest.version })

/** Every route of the doors that is documented. */
export async function appRoutes(): Promise<Route[]> {
  let routes = (): Route[] => []
  // Fastify tells of each server it makes before the server has routes.
  const watch = (message: unknown) => {
    routes = collectRoutes((message as { fastify: FastifyInstance }).fastify)
  }
  subscribe('fastify.initialization', watch)
  try {
    const app = await createApp(absentDeps())
    await app.ready()
    await app.close()
  } finally {
    unsubscribe('fastify.initialization', watch)
  }
  return routes()
}

/** What a route may have at hand while it is registered: settings, clock and log. */
function absentDeps(): Deps {
  const config = loadConfig({
    RATE_LIMITS: 'off',
    DELEGATE_TOKENS: 'on',
    ADMIN_API_KEY: 'x'.repeat(32),
    KEY_ENCRYPTION_KEY: Buffer.alloc(32).toString('base64'),
  })
  return {
    config,
    db: absent('db'),
    pool: absent('pool'),
    hot: absent('hot'),
    keys: absent('keys'),
    custody: absent('custody'),
    outbound: absent('outbound'),
    metrics: absent('metrics'),
    tally: absent('tally'),
    now: () => new Date(0),
    clockSkew: async () => 0,
    log: pino({ level: 'silent' }),
  }
}

function absent<Part extends object>(name: string): Part {
  return new Proxy({} as Part, {
    get(_target, member) {
      throw new Error(`deps.${name}.${String(member)} was used while the routes were registered`)
    },
  })
}

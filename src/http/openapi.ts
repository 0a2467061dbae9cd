import type { FastifyInstance, FastifySchema } from 'fastify'
import { IDEMPOTENCY_KEY, OAUTH_ERROR, PAGES, PROBLEM } from './openapi-components.ts'
import type { OpenApiDocument, Route, RouteSchema } from './openapi-document.ts'
import { ABOUT, SECURITY_SCHEMES, tagsInOrder } from './openapi-doors.ts'
import { operationOf } from './openapi-operation.ts'
import { isOAuthError, plain, shareTitled } from './openapi-schema.ts'
import { Problem } from './problem-schema.ts'

/**
 * The OpenAPI 3.1 document of all the doors. It says what the routes themselves declare: their TypeBox
 * schemas are JSON Schema already. The same routes give the same text, so that the file can be compared.
 */

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/** Remembers the routes that are registered from now on; the returned function tells them. */
export function collectRoutes(app: FastifyInstance): () => Route[] {
  const routes: Route[] = []
  app.addHook('onRoute', ({ method, url, schema, config }) => {
    if (config?.undocumented) return
    for (const one of [method].flat()) {
      if (METHODS.includes(one)) {
        routes.push({ method: one, url, schema: readSchema(schema), config: config ?? {} })
      }
    }
  })
  return () => routes
}

const readSchema = (schema: FastifySchema | undefined) => (schema ?? {}) as RouteSchema

export function openApiDocument(
  routes: readonly Route[],
  { version }: { version: string },
): OpenApiDocument {
  const paths: OpenApiDocument['paths'] = {}
  const rank = ({ method }: Route) => METHODS.indexOf(method)
  const ordered = routes.toSorted(
    (a, b) => compare(pathOf(a.url), pathOf(b.url)) || rank(a) - rank(b),
  )
  for (const route of ordered) {
    const path = pathOf(route.url)
    paths[path] ??= {}
    paths[path][route.method.toLowerCase()] = operationOf(route, path)
  }
  const operations = Object.values(paths).flatMap((path) => Object.values(path))
  const shared = shareTitled(paths)
  const oauthError = ordered
    .flatMap(({ schema }) => Object.values(schema.response ?? {}))
    .find(isOAuthError)
  return {
    openapi: '3.1.0',
    info: { title: 'agent-idp', version, description: ABOUT },
    servers: [
      {
        url: '{issuer}',
        variables: {
          issuer: { default: 'https://id.example.com', description: 'Your ISSUER setting' },
        },
      },
    ],
    tags: tagsInOrder(operations.flatMap(({ tags }) => tags)),
    paths: shared.value,
    components: {
      schemas: {
        ...(oauthError !== undefined && { OAuthError: plain(oauthError) }),
        Problem: plain(Problem),
        ...shared.schemas,
      },
      responses: {
        ...(oauthError !== undefined && { OAuthError: OAUTH_ERROR }),
        Problem: PROBLEM,
        ...PAGES,
      },
      parameters: { IdempotencyKey: IDEMPOTENCY_KEY },
      securitySchemes: SECURITY_SCHEMES,
    },
  }
}

/** `/agents/:id` as OpenAPI writes it. */
const pathOf = (url: string) => url.replace(/:(\w+)/g, '{$1}')

/** By code units: no locale changes the order. */
const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

import { responseNamed } from './openapi-components.ts'
import type {
  Content,
  Operation,
  Parameter,
  Reference,
  Response,
  Route,
  RouteSchema,
} from './openapi-document.ts'
import { PATH_OF_ADMINS, securityOf, tagOf } from './openapi-doors.ts'
import { isOAuthError, isProblem, type JsonSchema, plain } from './openapi-schema.ts'

const FORM = 'application/x-www-form-urlencoded'

/** One route as OpenAPI describes it. `path` is its URL with `{…}` for parameters. */
export function operationOf(route: Route, path: string): Operation {
  const { schema, method } = route
  const scope = route.config.scope
  const description = [schema.description, scope && `Needs an admin key with \`${scope}\`.`]
    .filter(Boolean)
    .join('\n\n')
  const parameters = parametersOf(route, path)
  const requestBody = requestBodyOf(route)
  return {
    operationId: operationIdOf(method, path),
    summary: schema.summary ?? '',
    ...(description !== '' && { description }),
    tags: schema.tags ?? [tagOf(path)],
    ...(parameters.length > 0 && { parameters }),
    ...(requestBody && { requestBody }),
    responses: responsesOf(route, path),
    security: securityOf(path, scope),
  }
}

/** `POST /admin/v1/agents/{id}/suspend` is `postAdminAgentsByIdSuspend`. */
function operationIdOf(method: string, path: string): string {
  const words = path
    .replace(PATH_OF_ADMINS, '/admin/')
    .replaceAll('{', 'by-')
    .split(/[^A-Za-z0-9]+/)
    .filter(Boolean)
  const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1)
  return [method.toLowerCase(), ...words.map(capital)].join('')
}

function parametersOf({ schema, method }: Route, path: string): Operation['parameters'] & object {
  const params = plain(schema.params ?? {})
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    ...parameter('path', name, params.properties?.[name] ?? { type: 'string' }),
    required: true,
  }))
  const inQuery = membersOf('query', schema.querystring)
  const inHeaders = membersOf('header', schema.headers)
  const creates = method === 'POST' && path.startsWith(PATH_OF_ADMINS) && remembersKey(schema, path)
  const shared = creates ? [{ $ref: '#/components/parameters/IdempotencyKey' }] : []
  return [...inPath, ...inQuery, ...inHeaders, ...shared]
}

/** The calls that make something; those that act on what is there answer 200, or 202 below its id. */
const remembersKey = ({ response = {} }: RouteSchema, path: string): boolean =>
  '201' in response || ('202' in response && !path.includes('{'))

function membersOf(where: 'query' | 'header', schema: unknown): Parameter[] {
  const { properties = {}, required = [] } = plain(schema ?? {})
  return Object.entries(properties).map(([name, member]) => ({
    ...parameter(where, name, member),
    // What has a default may be left out, whatever the schema says after it was filled in.
    ...(required.includes(name) && member.default === undefined && { required: true }),
  }))
}

function parameter(where: Parameter['in'], name: string, schema: JsonSchema): Parameter {
  const { description, ...rest } = schema
  return { name, in: where, ...(description && { description }), schema: rest }
}

function requestBodyOf({ schema, method }: Route): Operation['requestBody'] {
  const types = schema.consumes ?? ['application/json']
  if (schema.body === undefined) {
    if (method !== 'POST' || !types.includes(FORM)) return undefined
    const fields = { type: 'object', description: 'The fields of the form as the page has them' }
    return { required: true, content: { [FORM]: { schema: fields } } }
  }
  const body = plain(schema.body)
  const type = body.type ?? 'object'
  const needed = body.required?.length ?? body.minProperties ?? 0
  const required = ![type].flat().includes('null') && Number(needed) > 0
  return { required, content: contentOf(types, body) }
}

const contentOf = (types: string[], schema: JsonSchema): Content =>
  Object.fromEntries(types.map((type) => [type, { schema }]))

function responsesOf({ schema, config }: Route, path: string): Operation['responses'] {
  const given = Object.entries(schema.response ?? {})
  if (given.length === 0 && config.scope === undefined) return pageResponses(schema, path)
  const responses: Operation['responses'] = {}
  for (const [status, body] of given) {
    responses[status.toUpperCase()] = responseOf(status, body, schema.produces)
  }
  if (config.scope !== undefined) responses['4XX'] ??= responseNamed('Problem')
  for (const status of '304' in responses ? ['200', '304'] : []) {
    responses[status] = { ...(responses[status] as Response), headers: CACHED }
  }
  return responses
}

function responseOf(status: string, body: unknown, produces?: string[]): Response | Reference {
  if (isProblem(body)) return responseNamed('Problem')
  if (isOAuthError(body)) return responseNamed('OAuthError')
  const schema = plain(body)
  const description = MEANINGS[status] ?? 'The answer'
  if (schema.type === 'null') return { description }
  return { description, content: contentOf(produces ?? ['application/json'], schema) }
}

/** What answers people declares no shape: a page, or a redirect. */
function pageResponses({ produces }: RouteSchema, path: string): Operation['responses'] {
  const type = produces?.[0] ?? (path.endsWith('.json') ? 'application/json' : 'text/html')
  if (type !== 'text/html') {
    return { 200: { description: 'The document', content: contentOf([type], {}) } }
  }
  return {
    200: responseNamed('Page'),
    303: responseNamed('Elsewhere'),
    '4XX': responseNamed('ErrorPage'),
  }
}

/** Of what may be kept, and asked for again. */
const CACHED = {
  ETag: { description: 'Send it back as `If-None-Match`', schema: { type: 'string' } },
  'Cache-Control': {
    description: 'For how many seconds a copy may be kept',
    schema: { type: 'string', examples: ['public, max-age=300'] },
  },
}

const MEANINGS: Record<string, string> = {
  200: 'Done',
  201: 'Made',
  202: 'Accepted; what follows is on its way',
  204: 'Done, or done before',
  304: 'What `If-None-Match` named is still so: no body',
  '4xx': 'Refused: why, and what to do',
  503: 'Not now',
}

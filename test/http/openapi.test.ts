import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import Fastify from 'fastify'
import Type from 'typebox'
import { apiDocument, appRoutes } from '../../src/commands/api-document.ts'
import { htmlText } from '../../src/http/html.ts'
import { collectRoutes, openApiDocument } from '../../src/http/openapi.ts'
import type {
  OpenApiDocument,
  Operation,
  Parameter,
  Response,
} from '../../src/http/openapi-document.ts'
import { membersOf } from '../../src/http/openapi-members.ts'
import type { JsonSchema } from '../../src/http/openapi-schema.ts'
import { PROBLEMS } from '../../src/http/problem.ts'
import { referenceRoutes } from '../../src/http/reference.ts'
import { referencePage } from '../../src/http/reference-page.ts'
import { openHouse } from '../support/house.ts'

const committed = new URL('../../docs/openapi.json', import.meta.url)
const api = await apiDocument()
const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    where: `${method.toUpperCase()} ${path}`,
    path,
    operation,
  })),
)
const admin = operations.filter(({ operation }) => operation.security.some((one) => one.adminKey))

test('docs/openapi.json says what the routes say', () => {
  const rebuilt = `${JSON.stringify(api, null, 2)}\n`
  const same = readFileSync(committed, 'utf8') === rebuilt
  assert.ok(same, 'docs/openapi.json is stale: run npm run openapi and commit it with the routes')
})

test('the document is the same each time', async () => {
  assert.equal(JSON.stringify(await apiDocument()), JSON.stringify(api))
})

test('every documented route is there, once', async () => {
  const routes = (await appRoutes()).map(({ method, url }) => `${method} ${url}`)
  assert.ok(routes.length > 50, `only ${routes.length} routes`)
  const documented = operations.map(({ where }) => where.replace(/\{(\w+)\}/g, ':$1'))
  assert.deepEqual(documented.toSorted(), [...new Set(routes)].toSorted())
  const ids = operations.map(({ operation }) => operation.operationId)
  assert.equal(new Set(ids).size, ids.length, 'operation ids are unique')
})

test('every operation has a summary, answers, known tags and known schemes', () => {
  const tags = api.tags.map(({ name }) => name)
  for (const { where, operation } of operations) {
    assert.ok(operation.summary, `${where} has no summary`)
    assert.ok(Object.keys(operation.responses).length > 0, `${where} has no answers`)
    for (const status of Object.keys(operation.responses))
      assert.match(status, /^([1-5]\d\d|[1-5]XX)$/, where)
    assert.ok(operation.tags.length > 0, `${where} has no tag`)
    for (const tag of operation.tags) assert.ok(tags.includes(tag), `${where}: ${tag}`)
    for (const scheme of operation.security.flatMap((one) => Object.keys(one)))
      assert.ok(Object.hasOwn(api.components.securitySchemes, scheme), `${where}: ${scheme}`)
  }
})

test('the parameters of a path are those of its pattern', () => {
  for (const { where, path, operation } of operations) {
    const declared = parametersOf(operation).filter((one) => one.in === 'path')
    const wanted = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name)
    assert.deepEqual(
      declared.map(({ name }) => name),
      wanted,
      where,
    )
    for (const one of declared) assert.ok(one.required, `${where}: ${one.name} is required`)
    const named = parametersOf(operation).map((one) => `${one.in} ${one.name}`)
    assert.equal(new Set(named).size, named.length, `${where} repeats a parameter`)
  }
})

test('every reference leads somewhere', () => {
  const text = JSON.stringify(api)
  for (const [, pointer = ''] of text.matchAll(/"\$ref":"#([^"]+)"/g)) {
    const found = pointer
      .split('/')
      .slice(1)
      .reduce<unknown>((node, name) => (node as Record<string, unknown>)?.[name], api)
    assert.ok(found, `#${pointer}`)
  }
})

test('every schema is JSON Schema 2020-12', () => {
  const ajv = new Ajv2020({ strict: false })
  for (const { where, operation } of operations) {
    const contents = [operation.requestBody, ...Object.values(operation.responses)].flatMap(
      (one) => (one && 'content' in one ? Object.values(one.content ?? {}) : []),
    )
    for (const { schema } of [...contents, ...parametersOf(operation)])
      assert.ok(ajv.validateSchema(schema), `${where}: ${ajv.errorsText()}`)
  }
  for (const [name, schema] of Object.entries(api.components.schemas))
    assert.ok(ajv.validateSchema(schema), `${name}: ${ajv.errorsText()}`)
})

test('every call of the admin API names its scope, and answers faults with problem details', () => {
  const { paths } = api
  for (const path of Object.keys(paths).filter((one) => one.startsWith('/admin/v1/'))) {
    if (/\/(openapi\.json|docs)$/.test(path)) continue
    for (const [method, { security }] of Object.entries(paths[path] ?? {}))
      assert.ok(security[0]?.adminKey, `${method} ${path} needs no admin key`)
  }
  for (const { where, operation } of admin) {
    const [scope = ''] = operation.security[0]?.adminKey ?? []
    assert.match(scope, /^[a-z-]+:(read|write)$/, where)
    assert.ok(operation.description?.includes(`\`${scope}\``), `${where} names no scope`)
    assert.deepEqual(
      operation.responses['4XX'],
      { $ref: '#/components/responses/Problem' },
      `${where} has no problem details`,
    )
  }
})

test('every member of a request explains itself: in words, by an example, or by its values', () => {
  const silent = operations.flatMap(({ where, operation }) => {
    const members = Object.values(operation.requestBody?.content ?? {}).flatMap(({ schema }) =>
      membersOf(schema, api.components.schemas),
    )
    // An example shows the members of its own too.
    const shown = members
      .filter(({ schema }) => schema.examples ?? schema.items?.examples)
      .map(({ path }) => path)
    return members
      .filter(({ path }) => !shown.some((outer) => path.startsWith(outer) && path !== outer))
      .filter(({ schema }) => !explains(schema))
      .map(({ path }) => `${where}: ${path}`)
  })
  assert.deepEqual(silent, [])
})

test('every member of an answer explains itself, and so does every operation', () => {
  const silent = operations.flatMap(({ where, operation }) =>
    Object.values(operation.responses).flatMap((response) =>
      Object.values('content' in response ? (response.content ?? {}) : {}).flatMap(({ schema }) =>
        membersOf(schema, api.components.schemas)
          .filter((member) => !explains(member.schema))
          .map(({ path }) => `${where}: ${path}`),
      ),
    ),
  )
  assert.deepEqual([...new Set(silent)], [])
  const wordless = operations
    .filter(
      ({ path }) => !/^\/(admin\/v1\/)?(docs|openapi\.json|livez|readyz|problems\/)/.test(path),
    )
    .filter(({ operation }) => !operation.description)
  assert.deepEqual(
    wordless.map(({ where }) => where),
    [],
  )
})

test('the published documents name every member they have, and how long they may be kept (DS-02, DS-04)', async (t) => {
  const house = await openHouse(t, { DELEGATE_TOKENS: 'on' })
  for (const path of [
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
    '/.well-known/ssf-configuration',
    '/.well-known/jwks.json',
  ]) {
    const operation = api.paths[path]?.get as Operation
    assert.ok(operation.description, path)
    const kept = { ...operation.responses['200'], ...operation.responses['304'] } as Response
    assert.deepEqual(Object.keys(kept.headers ?? {}), ['ETag', 'Cache-Control'])
    const { schema } = (operation.responses['200'] as Response).content?.['application/json'] ?? {}
    const { body } = await house.inject({ method: 'GET', url: path })
    assert.deepEqual(Object.keys(schema?.properties ?? {}).sort(), Object.keys(body).sort(), path)
  }
})

test('what is not for the reference stays out: HEAD, OPTIONS and undocumented routes', async () => {
  const app = Fastify()
  const routes = collectRoutes(app)
  const schema = { summary: 'Read', response: { 200: Type.String(), '4xx': Type.String() } }
  app.get('/things/:id', { schema, config: { scope: 'users:read' } }, () => '')
  app.options('/things/:id', () => '')
  app.get('/hidden', { config: { undocumented: true } }, () => '')
  await app.ready()
  const { paths } = openApiDocument(routes(), { version: '1.0.0' })
  assert.deepEqual(Object.keys(paths), ['/things/{id}'])
  const path = paths['/things/{id}']
  assert.deepEqual(Object.keys(path ?? {}), ['get'])
  assert.deepEqual(Object.keys(path?.get?.responses ?? {}), ['200', '4XX'])
  assert.deepEqual(path?.get?.security, [{ adminKey: ['users:read'] }])
})

test('schemas with one title and one shape are shared; with two shapes they stay in place', () => {
  const thing = Type.Object({ id: Type.String() }, { title: 'Thing' })
  const other = Type.Object({ id: Type.Integer() }, { title: 'Twice' })
  const twice = Type.Object({ id: Type.String() }, { title: 'Twice' })
  const get = (url: string, body: unknown) => ({
    method: 'GET',
    url,
    config: {},
    schema: { response: { 200: body } },
  })
  const { components, paths } = openApiDocument(
    [get('/a', thing), get('/b', Type.Array(thing)), get('/c', other), get('/d', twice)],
    { version: '1.0.0' },
  )
  assert.deepEqual(Object.keys(components.schemas), ['Problem', 'Thing'])
  const text = JSON.stringify(paths)
  assert.equal(text.split('"#/components/schemas/Thing"').length, 3)
  assert.ok(text.includes('"title":"Twice"'))
})

test('the reference is served as a document and as a page, to everyone', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(referenceRoutes)
  for (const url of ['/openapi.json', '/admin/v1/openapi.json']) {
    const answer = await app.inject({ url })
    assert.equal(answer.statusCode, 200)
    assert.match(String(answer.headers['content-type']), /^application\/json/)
    assert.match(String(answer.headers['cache-control']), /^public, max-age=\d+$/)
    assert.equal(answer.body, readFileSync(committed, 'utf8'))
  }
  const document: OpenApiDocument = JSON.parse(readFileSync(committed, 'utf8'))
  for (const url of ['/docs', '/admin/v1/docs']) {
    const { statusCode, headers, body } = await app.inject({ url })
    assert.equal(statusCode, 200)
    assert.match(
      String(headers['content-security-policy']),
      /^default-src 'none'; style-src 'sha256-/,
    )
    assert.match(String(headers['cache-control']), /^public, max-age=\d+$/)
    assertStill(body)
    for (const path of Object.values(document.paths))
      for (const { operationId } of Object.values(path))
        assert.ok(body.includes(`id="${operationId}"`), operationId)
    const ids = [...body.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
    assert.equal(new Set(ids).size, ids.length, 'ids are unique')
    for (const [, target] of body.matchAll(/href="#([^"]+)"/g))
      assert.ok(ids.includes(target), target)
  }
})

test('what a schema says is text on the page, whatever it says', () => {
  const evil = '<script>alert(1)</script>"'
  const body = Type.Object({ [evil]: Type.String({ description: evil, examples: [evil] }) })
  const schema = { summary: evil, description: evil, body, response: { 200: body } }
  const document = openApiDocument([{ method: 'POST', url: '/a', schema, config: {} }], {
    version: '1.0.0',
  })
  const page = htmlText(referencePage(document).body as Parameters<typeof htmlText>[0])
  assertStill(page)
  assert.ok(page.includes('&lt;script&gt;'))
})

test('each problem has its page, and nothing else has one', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(referenceRoutes)
  for (const [code, [status, title]] of Object.entries(PROBLEMS)) {
    const answer = await app.inject({ url: `/problems/${code}` })
    assert.equal(answer.statusCode, 200, code)
    assert.ok(answer.body.includes(`<h1>${title}</h1>`), code)
    assert.ok(answer.body.includes(String(status)), code)
    assert.match(answer.body, /What to do<\/dt><dd>[^<]{20,}/, code)
    assertStill(answer.body)
  }
  for (const code of ['no_such_problem', 'toString', '__proto__', '%3Cscript%3E']) {
    const answer = await app.inject({ url: `/problems/${code}` })
    assert.equal(answer.statusCode, 404, code)
    assertStill(answer.body)
  }
})

function assertStill(page: string): void {
  assert.ok(!/<script|javascript:|\son\w+=|\sstyle=/i.test(page), 'nothing runs on the page')
}

function parametersOf({ parameters = [] }: Operation): Parameter[] {
  return parameters.map((one) => {
    if (!('$ref' in one)) return one
    return api.components.parameters[one.$ref.split('/').at(-1) ?? ''] as Parameter
  })
}

/** What has members of its own is told by them. */
const explains = ({ items, properties, ...told }: JsonSchema): boolean =>
  [told.$ref, told.description, told.examples, told.enum, told.anyOf, properties].some(
    (part) => part !== undefined,
  ) ||
  (items !== undefined && explains(items))

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import Fastify from 'fastify'
import Type, { type TSchema } from 'typebox'
import { problemErrorHandler } from '../../src/http/admin-door.ts'
import { bearerErrorHandler, readJsonObjects } from '../../src/http/bearer-door.ts'
import { oauthErrorHandler } from '../../src/http/client-door.ts'
import { readForms } from '../../src/http/form.ts'
import { PATTERN_WORDS } from '../../src/http/pattern-words.ts'
import { invalid, unsupported } from '../../src/http/problem.ts'
import { Line, Nullable, OneOf } from '../../src/http/shapes.ts'
import { ssfErrorHandler } from '../../src/http/ssf-door.ts'
import { useValidation } from '../../src/http/validation.ts'
import { LINE_PATTERN } from '../../src/oauth/plain-text.ts'

const Words = Type.Object(
  {
    reason: Line(20),
    method: Type.Optional(OneOf(['push', 'poll'])),
    mode: Type.Optional(Nullable(OneOf(['once', 'always']))),
    count: Type.Optional(Nullable(Type.Integer({ minimum: 1, maximum: 9 }))),
    at: Type.Optional(Type.String({ format: 'date-time' })),
    secret: Type.Optional(Type.String({ minLength: 8 })),
    names: Type.Optional(Type.Array(Type.String(), { maxItems: 3, uniqueItems: true })),
    audience: Type.Optional(
      Type.Union([
        Type.String({ minLength: 1, maxLength: 8 }),
        Type.Array(Line(8), { minItems: 1 }),
      ]),
    ),
    more: Type.Optional(Type.Array(Type.Object({ 'a/b': Type.Boolean() }))),
  },
  { additionalProperties: false },
)

async function openDoor(body: TSchema = Words) {
  const app = Fastify()
  useValidation(app)
  app.setErrorHandler(problemErrorHandler)
  const querystring = Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1 })) })
  app.post('/', { schema: { body, querystring } }, async () => 'taken')
  return app
}

const BLANK = PATTERN_WORDS[LINE_PATTERN] ?? ''

const FAULTS: [fault: string, body: object, pointer: string, detail: string][] = [
  ['a member left out', {}, '/reason', 'is missing'],
  ['an unknown member', { reason: 'x', resaon: 'y' }, '/resaon', 'is not a known member'],
  ['no text at all', { reason: '' }, '/reason', 'must not be empty'],
  ['a blank', { reason: ' ' }, '/reason', BLANK],
  ['a long text', { reason: 'x'.repeat(21) }, '/reason', 'must have at most 20 characters'],
  ['another kind of value', { reason: 5 }, '/reason', 'must be a string'],
  ['a word of no meaning', { reason: 'x', method: 'mail' }, '/method', 'must be one of push, poll'],
  [
    'one where null is one',
    { reason: 'x', mode: 'a' },
    '/mode',
    'must be one of once, always, or null',
  ],
  ['a text for a number', { reason: 'x', count: '5' }, '/count', 'must be a whole number or null'],
  ['a number too small', { reason: 'x', count: 0 }, '/count', 'must be at least 1'],
  ['a number too great', { reason: 'x', count: 10 }, '/count', 'must be at most 9'],
  [
    'a short secret',
    { reason: 'x', secret: 'hunter2' },
    '/secret',
    'must have at least 8 characters',
  ],
  [
    'a day for an instant',
    { reason: 'x', at: '2027-11-21' },
    '/at',
    'must be a time with its offset (RFC 3339), such as 2027-11-21T12:00:00Z',
  ],
  [
    'a value twice',
    { reason: 'x', names: ['a', 'b', 'a'] },
    '/names',
    'has the same value twice, at 0 and 2',
  ],
  [
    'too many',
    { reason: 'x', names: ['a', 'b', 'c', 'd'] },
    '/names',
    'must have at most 3 values',
  ],
  ['none of two kinds', { reason: 'x', audience: 5 }, '/audience', 'must be a string or an array'],
  [
    'a long one of two kinds',
    { reason: 'x', audience: 'x'.repeat(9) },
    '/audience',
    'must have at most 8 characters',
  ],
  ['an empty one of two kinds', { reason: 'x', audience: [] }, '/audience', 'must not be empty'],
  ['a wrong part of one', { reason: 'x', audience: ['a', 5] }, '/audience/1', 'must be a string'],
]

for (const [fault, payload, pointer, detail] of FAULTS) {
  test(`${fault} is one fault, told in words`, async () => {
    const answer = await (await openDoor()).inject({ method: 'POST', url: '/', payload })
    assert.equal(answer.statusCode, 422, answer.body)
    assert.deepEqual(answer.json().errors, [{ pointer, detail }])
    assert.equal(answer.json().detail, `${pointer.slice(1)} ${detail}`)
  })
}

test('a member within another is named by the way to it, and a long name is cut', async () => {
  const door = await openDoor()
  const deep = await door.inject({
    method: 'POST',
    url: '/',
    payload: { reason: 'x', more: [{ 'a/b': 'yes' }] },
  })
  assert.deepEqual(deep.json().errors, [
    { pointer: '/more/0/a~1b', detail: 'must be true or false' },
  ])
  assert.equal(deep.json().detail, 'more/0/a/b must be true or false')
  const payload = { reason: 'x', ['n'.repeat(5000)]: 1 }
  const long = await door.inject({ method: 'POST', url: '/', payload })
  assert.ok(long.json().detail.length < 200, long.body)
})

test('a body without any member, and a repeated parameter, are told so', async () => {
  const door = await openDoor(Type.Object({}, { minProperties: 1 }))
  const empty = await door.inject({ method: 'POST', url: '/', payload: {} })
  assert.equal(empty.json().detail, 'The body has no member')
  const twice = await door.inject({ method: 'POST', url: '/?limit=1&limit=2', payload: { a: 1 } })
  assert.equal(twice.json().detail, 'limit is repeated')
})

test('every door says the same of the same fault', async () => {
  const shape = Type.Object({ grant_type: Type.String({ maxLength: 5 }) })
  const ask = async (
    app: ReturnType<typeof Fastify>,
    payload: string,
    type: string,
    words: (body: Record<string, string>) => string | undefined,
  ) => {
    useValidation(app)
    app.post('/', { schema: { body: shape } }, async () => 'taken')
    const answer = await app.inject({
      method: 'POST',
      url: '/',
      headers: { 'content-type': type },
      payload,
    })
    assert.equal(answer.statusCode, 400, answer.body)
    return words(answer.json())
  }
  const form = () => {
    const app = Fastify()
    readForms(app)
    app.setErrorHandler(oauthErrorHandler)
    return app
  }
  const objects = (handler: typeof bearerErrorHandler | typeof ssfErrorHandler) => {
    const app = Fastify()
    readJsonObjects(app)
    app.setErrorHandler(handler)
    return app
  }
  const FORM = 'application/x-www-form-urlencoded'
  const JSON_TYPE = 'application/json'
  const described = ({ error_description }: Record<string, string>) => error_description
  const description = ({ description }: Record<string, string>) => description
  const bearer = () => objects(bearerErrorHandler)
  const ssf = () => objects(ssfErrorHandler)
  for (const [inForm, inJson, words] of [
    ['scope=a', '{"scope":"a"}', 'grant_type is missing'],
    ['grant_type=abcdef', '{"grant_type":"abcdef"}', 'grant_type must have at most 5 characters'],
  ] as const) {
    assert.equal(await ask(form(), inForm, FORM, described), words)
    assert.equal(await ask(bearer(), inJson, JSON_TYPE, described), words)
    assert.equal(await ask(ssf(), inJson, JSON_TYPE, description), words)
  }
  const twice = 'grant_type=a&grant_type=b'
  assert.equal(await ask(form(), twice, FORM, described), 'grant_type is repeated')
  const list = '{"grant_type":["a"]}'
  assert.equal(await ask(bearer(), list, JSON_TYPE, described), 'grant_type must be a string')
})

test('every pattern and format that the doors ask for has its words', () => {
  const patterns = new Set<string>()
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    const { pattern, format } = node as { pattern?: unknown; format?: unknown }
    if (typeof pattern === 'string') patterns.add(pattern)
    if (typeof format === 'string') assert.equal(format, 'date-time')
    for (const [name, part] of Object.entries(node)) if (name !== 'examples') walk(part)
  }
  walk(JSON.parse(readFileSync(new URL('../../docs/openapi.json', import.meta.url), 'utf8')).paths)
  assert.ok(patterns.size > 5)
  for (const pattern of patterns) assert.ok(PATTERN_WORDS[pattern], pattern)
})

test('what is told of one member says which', () => {
  assert.equal(invalid('/tenant_id', 'names no tenant').message, 'tenant_id names no tenant')
  assert.equal(unsupported('/alg', 'is not used here').message, 'alg is not used here')
  assert.equal(invalid('', 'Give exactly one').message, 'Give exactly one')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import Fastify from 'fastify'
import { problemErrorHandler, readJson } from '../../src/http/admin-door.ts'
import { bearerErrorHandler, readJsonObjects } from '../../src/http/bearer-door.ts'

/** Valid JSON but for one byte, which no UTF-8 holds. */
const NOT_UTF8 = Buffer.from('{"name":"Zo\xeb"}', 'latin1')

async function send(door: 'admin' | 'bearer', payload: Buffer | string, parameters = '') {
  const app = Fastify()
  if (door === 'admin') {
    readJson(app)
    app.setErrorHandler(problemErrorHandler)
  } else {
    readJsonObjects(app)
    app.setErrorHandler(bearerErrorHandler)
  }
  app.post('/', async ({ body }) => body)
  return app.inject({
    method: 'POST',
    url: '/',
    headers: { 'content-type': `application/json${parameters}` },
    payload,
  })
}

test('JSON that is not UTF-8 is refused rather than kept with a hole in it', async () => {
  const admin = await send('admin', NOT_UTF8)
  assert.equal(admin.statusCode, 400, admin.body)
  assert.equal(admin.json().type, '/problems/malformed_json')
  assert.match(admin.json().detail, /UTF-8/)
  const bearer = await send('bearer', NOT_UTF8)
  assert.equal(bearer.statusCode, 400, bearer.body)
  assert.match(bearer.json().error_description, /UTF-8/)
})

test('plain ASCII is taken by whatever name of it a client uses', async () => {
  for (const door of ['admin', 'bearer'] as const) {
    for (const charset of ['ascii', 'iso-8859-1']) {
      const answer = await send(door, '{"a":"b"}', `; charset=${charset}`)
      assert.deepEqual([answer.statusCode, answer.json()], [200, { a: 'b' }], `${door} ${charset}`)
      const other = await send(door, NOT_UTF8, `; charset=${charset}`)
      assert.equal(other.statusCode, door === 'admin' ? 415 : 400, other.body)
    }
  }
})

test('a media type that names an encoding by which it would say something else is refused', async () => {
  const admin = await send('admin', '{"a":"b"}', '; charset=utf-16')
  assert.equal(admin.statusCode, 415, admin.body)
  assert.match(admin.json().detail, /UTF-8/)
  const bearer = await send('bearer', '{"a":"b"}', '; charset=utf-16')
  assert.equal(bearer.statusCode, 400, bearer.body)
  for (const door of ['admin', 'bearer'] as const) {
    const answer = await send(door, '{"a":"ë"}', '; charset=UTF-8')
    assert.deepEqual(answer.json(), { a: 'ë' })
  }
})

for (const [what, body, words] of [
  ['half of one', '{', /not valid JSON/],
  ['a list', '[]', /not an object/],
  ['U+0000', '{"a":"\\u0000"}', /holds U\+0000/],
  ['half a character', '{"a":"\\ud800"}', /half a surrogate pair/],
  ['a hundred levels', `${'{"a":'.repeat(100)}1${'}'.repeat(100)}`, /nested too deeply/],
] as const) {
  test(`an object that holds ${what}, or is that, is told so`, async () => {
    const answer = await send('bearer', body)
    assert.equal(answer.statusCode, 400)
    assert.equal(answer.json().error, 'invalid_request')
    assert.match(answer.json().error_description, words)
  })
}

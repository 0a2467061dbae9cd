import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isUtf8, parseJsonObject, readJsonObject } from '../../src/http/json-object.ts'

const parse = (text: string) => parseJsonObject(Buffer.from(text))

test('returns any object a server may reasonably send', () => {
  const member = fc.jsonValue({ maxDepth: 5, noUnicodeString: false })
  fc.assert(
    fc.property(fc.dictionary(fc.string(), member), (object) => {
      const text = JSON.stringify(object)
      fc.pre(!/__proto__|\\u0000|\\ud[89a-f]/.test(text))
      assert.deepEqual(parse(text), JSON.parse(text))
    }),
  )
})

test('refuses everything but an object', () => {
  for (const text of ['', '[]', '[{}]', 'null', '1', '"{}"', 'true', '{', '{"a":1,}', '{} {}']) {
    assert.equal(parse(text), undefined, text)
  }
  assert.equal(parseJsonObject(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), undefined)
})

test('refuses what cannot be stored, in keys as in values', () => {
  for (const text of ['{"a":"\\u0000"}', '{"a\\u0000":1}', '{"a":["\\ud800"]}', '{"\\udc00":1}']) {
    assert.equal(parse(text), undefined, text)
  }
})

test('refuses nesting that would exhaust a stack', () => {
  const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`
  assert.ok(parse(nested(64)))
  assert.equal(parse(nested(65)), undefined)
  assert.equal(parse(`{"a":${'['.repeat(40_000)}${']'.repeat(40_000)}}`), undefined)
})

test('drops __proto__ members at every depth', () => {
  const parsed = parse('{"__proto__":{"admin":true},"a":[{"__proto__":{"admin":true},"b":1}]}')
  assert.deepEqual(parsed, { a: [{ b: 1 }] })
  const copy = Object.assign({}, parsed) as { admin?: boolean }
  assert.equal(copy.admin, undefined)
  assert.equal(({} as { admin?: boolean }).admin, undefined)
})

test('says why there is no object', () => {
  const said = (text: string | number[]) => readJsonObject(Buffer.from(text as string))
  assert.equal(said([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'not_utf8')
  assert.equal(said('{'), 'not_json')
  assert.equal(said('[]'), 'no_object')
  assert.equal(said('{"a":["\\u0000"]}'), 'unstorable')
  assert.equal(said('{"\\ud800":1}'), 'unstorable')
  assert.equal(said(`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`), 'too_deep')
})

test('a media type may name UTF-8, no encoding, or one by which the same bytes read alike', () => {
  const judge = (charset: string, body: string | Uint8Array = '{"a":"b"}') =>
    isUtf8(`application/json${charset}`, Buffer.from(body))
  for (const type of ['', '; charset=utf-8', ';charset="UTF-8"', '; x=1']) {
    assert.ok(judge(type), type)
    assert.ok(judge(type, '{"a":"ë"}'), type)
  }
  for (const charset of ['us-ascii', 'ascii', 'iso-8859-1', '"ISO-8859-15"', 'windows-1252']) {
    assert.ok(judge(`; charset=${charset}`), charset)
    assert.ok(!judge(`; charset=${charset}`, '{"a":"ë"}'), charset)
    assert.ok(!judge(`; charset=${charset}`, Buffer.from([0x22, 0xeb, 0x22])), charset)
  }
  for (const charset of ['utf-16', '"UTF-16LE"', 'utf-32', 'utf-7', 'utf-8x', 'x']) {
    assert.ok(!judge(`; charset=${charset}`), charset)
  }
  assert.ok(!judge('; charset=utf-16', Buffer.from('{}', 'utf16le')))
  assert.ok(isUtf8(undefined, Buffer.from('{}')))
})

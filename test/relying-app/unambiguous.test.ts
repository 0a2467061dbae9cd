import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isUnambiguous } from '../../src/relying-app/unambiguous.ts'

const isHarmless = (text: string) =>
  text.isWellFormed() && !text.includes('\0') && text !== '__proto__'
const text = fc.string({ unit: 'binary' }).filter(isHarmless)
const { object } = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
  object: fc.dictionary(text, tie('value'), { maxKeys: 4 }),
  value: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    tie('object'),
  ),
}))

test('whatever JSON.stringify writes of harmless texts is read in one way', () => {
  fc.assert(
    fc.property(object, fc.constantFrom(undefined, 1, '\t'), (value, space) => {
      assert.equal(isUnambiguous(JSON.stringify(value, null, space)), true)
    }),
  )
})

test('a name that comes twice in one object is noticed, wherever it stands and however it is written', () => {
  const escaped = (name: string) =>
    `"${Array.from({ length: name.length }, (_, at) => `\\u${name.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`
  fc.assert(
    fc.property(object, text, fc.boolean(), fc.nat(), (inner, name, isEscaped, at) => {
      const first = `${JSON.stringify(name)}:${JSON.stringify(inner)}`
      const second = `${isEscaped ? escaped(name) : JSON.stringify(name)} \n: 1`
      const twice = `{${first},${second}}`
      const json = [twice, `[1,${twice}]`, `{"outer":{"a":[${twice}]}}`][at % 3] ?? ''
      JSON.parse(json)
      assert.equal(isUnambiguous(json), false)
    }),
  )
})

test('one name in two objects is fine, and a value may be what a name is', () => {
  for (const json of [
    '{"a":{"a":1},"b":{"a":1}}',
    '[{"a":1},{"a":1}]',
    '{"a":"a","b":["a","a"]}',
    '{"a":{},"b":{"a":{}},"c":1}',
    '{"a":"{\\"b\\":1,\\"b\\":2}"}',
    '{"a":"b\\\\","b":"\\"a\\":"}',
    '{"__proto":1,"constructor":2}',
    '{"a":"__proto__"}',
    '[]',
    '1',
  ]) {
    assert.equal(isUnambiguous(json), true, json)
  }
})

test('texts that some programs cannot hold are noticed', () => {
  for (const json of [
    '{"a":1,"a":1}',
    '{"a":{"b":1},"a":1}',
    '{"a":[{"b":1}],"a":1}',
    '{"__proto__":1}',
    '{"a":{"\\u005f_proto__":1}}',
    '{"a":"\\ud800"}',
    '{"a":["x\\udc00\\ud800"]}',
    '{"\\ud800":1}',
    '{"a":"\\u0000"}',
    '{"a\\u0000":1}',
  ]) {
    JSON.parse(json)
    assert.equal(isUnambiguous(json), false, json)
  }
})

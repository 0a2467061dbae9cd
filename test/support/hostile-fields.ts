import fc from 'fast-check'
import { oddText } from './hostile-text.ts'

/** A form or a query, and what may be done to it by whoever knows nothing of its meaning. */
export type Fields = [name: string, value: string][]

/** A number means a field that there is, a text any. */
export type FieldEdit =
  | { do: 'drop' | 'empty'; name: Name }
  | { do: 'repeat'; name: Name; times: number }
  | { do: 'set' | 'add'; name: Name; text: string }
  | { do: 'swap' | 'copy'; name: Name; other: Name }
  | { do: 'cut' | 'insert'; name: Name; at: number; text: string }
export type Name = string | number

const STRANGE = ['__proto__', 'constructor', 'toString', '', 'a[b]', 'scope[]', '\0', 'x']

export const anyName = (names: readonly string[]): fc.Arbitrary<Name> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.nat(12) },
    { weight: 1, arbitrary: fc.constantFrom(...names, ...STRANGE) },
  )

/** Sets or adds a field of that name. */
export const anySetting = (
  name: fc.Arbitrary<Name>,
  text: fc.Arbitrary<string>,
): fc.Arbitrary<FieldEdit> =>
  fc.record({ do: fc.constantFrom('set' as const, 'add' as const), name, text })

export function anyFieldEdit(names: readonly string[]): fc.Arbitrary<FieldEdit> {
  const name = anyName(names)
  return fc.oneof(
    fc.record({ do: fc.constantFrom('drop' as const, 'empty' as const), name }),
    fc.record({ do: fc.constant('repeat' as const), name, times: fc.integer({ min: 2, max: 25 }) }),
    anySetting(name, oddText),
    fc.record({ do: fc.constantFrom('swap' as const, 'copy' as const), name, other: name }),
    fc.record({
      do: fc.constantFrom('cut' as const, 'insert' as const),
      name,
      at: fc.nat(800),
      text: oddText,
    }),
  )
}

/** The name of a field that an edit means. */
export const called = (fields: Fields, name: Name): string =>
  typeof name === 'string' ? name : (fields[name % fields.length]?.[0] ?? 'x')

export function spoilFields(fields: Fields, edit: FieldEdit): Fields {
  const name = called(fields, edit.name)
  const old = firstOf(fields, name)
  switch (edit.do) {
    case 'drop':
      return setField(fields, name, undefined)
    case 'empty':
      return setField(fields, name, '')
    case 'repeat':
      return [...fields, ...Array<Fields[0]>(edit.times - 1).fill([name, old ?? 'x'])]
    case 'set':
      return setField(fields, name, edit.text)
    case 'add':
      return [...fields, [name, edit.text]]
    case 'copy':
      return setField(fields, name, firstOf(fields, called(fields, edit.other)))
    case 'swap': {
      const other = called(fields, edit.other)
      return setField(setField(fields, name, firstOf(fields, other)), other, old)
    }
    case 'cut':
      return setField(fields, name, old?.slice(0, edit.at))
    case 'insert': {
      const [before, behind] = [old?.slice(0, edit.at) ?? '', old?.slice(edit.at) ?? '']
      return setField(fields, name, `${before}${edit.text}${behind}`)
    }
  }
}

/** In the place of all that there are of that name. */
export function setField(fields: Fields, name: string, value: string | undefined): Fields {
  const others = fields.filter(([known]) => known !== name)
  return value === undefined ? others : [...others, [name, value]]
}

const firstOf = (fields: Fields, name: string) => fields.find(([known]) => known === name)?.[1]

/** As a form is written, but that it would rather lie than mend: half a surrogate pair stays one, in three bytes. */
export const writeFields = (fields: Fields): string =>
  fields.map((pair) => pair.map(escapeText).join('=')).join('&')

const HALF = /([\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff])/

const escapeText = (text: string): string =>
  text
    .split(HALF)
    .map((part, at) => (at % 2 === 0 ? encodeURIComponent(part) : escapeHalf(part.charCodeAt(0))))
    .join('')
    .replaceAll('%20', '+')

const escapeHalf = (code: number): string =>
  [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]
    .map((byte) => `%${byte.toString(16)}`)
    .join('')

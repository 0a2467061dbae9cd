import fc from 'fast-check'
import type { BodySchema, Values } from './hostile-routes.ts'
import { oddValue } from './hostile-text.ts'

/** JSON bodies that were right before something was done to them. */

/** A value that fits, with every member there is. */
export function fitting(schema: BodySchema, values: Values, name = ''): unknown {
  const known = values[name]?.()
  const isOfObjects = [schema.items?.type].flat()[0] === 'object'
  if (known !== undefined && !(isOfObjects && Array.isArray(known))) return known
  const [example] = schema.examples ?? schema.enum ?? []
  if (example !== undefined && schema.properties === undefined) return example
  const inner = schema.anyOf?.[0]
  if (inner) return fitting(inner, values, name)
  const type = [schema.type].flat()[0]
  if (type === 'object') {
    const members = Object.entries(schema.properties ?? {})
    return Object.fromEntries(members.map(([key, of]) => [key, fitting(of, values, key)]))
  }
  if (type === 'array') return schema.items ? [fitting(schema.items, values)] : []
  if (type === 'integer' || type === 'number') return 300
  if (type === 'boolean') return true
  return schema.format === 'date-time' ? '2099-01-01T00:00:00Z' : 'x'
}

/** What is done at the place that the steps lead to: each a number, for as many members as there are. */
export type BodyEdit = {
  steps: number[]
  do: 'drop' | 'set' | 'add' | 'wrap'
  /** What is set or added. */
  name: string
  value: unknown
}

export const anyBodyEdit: fc.Arbitrary<BodyEdit> = fc.record({
  steps: fc.array(fc.nat(40), { minLength: 1, maxLength: 4 }),
  do: fc.constantFrom('drop', 'set', 'set', 'set', 'add', 'wrap'),
  name: fc.constantFrom('__proto__', 'constructor', 'toString', 'toJSON', '', '\0', 'x'),
  value: oddValue,
})

/** The body with that done to it. */
export function spoilBody(body: unknown, edit: BodyEdit): unknown {
  const [step = 0, ...steps] = edit.steps
  const entries = typeof body === 'object' && body !== null ? Object.entries(body) : []
  const at = step % entries.length
  const [name, value] = entries[at] ?? []
  if (name === undefined) return edited(body, edit)
  const isLast = steps.length === 0 || typeof value !== 'object'
  if (isLast && edit.do === 'drop') entries.splice(at, 1)
  else entries[at] = [name, isLast ? edited(value, edit) : spoilBody(value, { ...edit, steps })]
  return Array.isArray(body) ? entries.map(([, member]) => member) : Object.fromEntries(entries)
}

function edited(old: unknown, { do: what, name, value }: BodyEdit): unknown {
  if (what === 'wrap') return [old, old]
  if (what === 'set') return value
  return Object.fromEntries([...Object.entries(Object(old)), [name, value]])
}

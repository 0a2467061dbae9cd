import type { JsonSchema } from './openapi-schema.ts'

export type Member = {
  /** From the body's root: `resources[].scopes[].name`. */
  path: string
  required: boolean
  schema: JsonSchema
}

type Schemas = Record<string, JsonSchema>

/** Every member of a body, those of its members too, in the order of the schema. */
export function membersOf(schema: JsonSchema, schemas: Schemas, path = ''): Member[] {
  const { properties = {}, required = [], items } = resolve(schema, schemas)
  const own = Object.entries(properties).flatMap(([name, member]): Member[] => {
    const at = path === '' ? name : `${path}.${name}`
    const here = { path: at, required: required.includes(name), schema: member }
    return [here, ...membersOf(member, schemas, at)]
  })
  const ofItems = items ? membersOf(items, schemas, `${path}[]`) : []
  return [
    ...own,
    ...ofItems,
    ...alternatives(schema).flatMap((one) => membersOf(one, schemas, path)),
  ]
}

/** A type in words: `array of string, at most 20 items or null`. */
export function describeType(schema: JsonSchema): string {
  if (schema.$ref !== undefined) return schema.$ref.split('/').at(-1) ?? ''
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' or ')
  const several = alternatives(schema)
  if (several.length > 0) return several.map(describeType).join(' or ')
  const types = [schema.type ?? 'any'].flat()
  return types.map((type) => describeOne(type, schema)).join(' or ')
}

function describeOne(type: string, schema: JsonSchema): string {
  switch (type) {
    case 'array':
      return `array of ${schema.items ? describeType(schema.items) : 'anything'}${limits(schema, 'Items', 'items')}`
    case 'string':
      return `${schema.format ?? 'string'}${limits(schema, 'Length', 'characters')}`
    case 'integer':
    case 'number':
      return `${type}${range(schema.minimum, schema.maximum)}`
    default:
      return type
  }
}

const limits = (schema: JsonSchema, what: 'Items' | 'Length', unit: string) =>
  range(schema[`min${what}`], schema[`max${what}`], ` ${unit}`)

function range(least: unknown, most: unknown, unit = ''): string {
  if (typeof most !== 'number') return typeof least === 'number' ? `, at least ${least}${unit}` : ''
  return typeof least === 'number' ? `, ${least} to ${most}${unit}` : `, at most ${most}${unit}`
}

const alternatives = ({ anyOf, oneOf, allOf }: JsonSchema): JsonSchema[] =>
  anyOf ?? oneOf ?? allOf ?? []

function resolve(schema: JsonSchema, schemas: Schemas): JsonSchema {
  const name = schema.$ref?.split('/').at(-1)
  return name === undefined ? schema : (schemas[name] ?? {})
}

import { Problem } from './problem-schema.ts'

/** JSON Schema as it is written down; the members that the reference reads are named. */
export type JsonSchema = {
  $ref?: string
  title?: string
  type?: string | string[]
  description?: string
  properties?: Record<string, JsonSchema>
  required?: string[]
  items?: JsonSchema
  anyOf?: JsonSchema[]
  allOf?: JsonSchema[]
  oneOf?: JsonSchema[]
  enum?: unknown[]
  const?: unknown
  default?: unknown
  examples?: unknown[]
  format?: string
  [keyword: string]: unknown
}

/** A TypeBox schema without what TypeBox keeps beside it. */
export const plain = (schema: unknown): JsonSchema => JSON.parse(JSON.stringify(schema))

const PROBLEM = JSON.stringify(Problem)

export const isProblem = (schema: unknown): boolean => JSON.stringify(schema) === PROBLEM

/** By what it says: the schema belongs to the rooms that answer so. One with a `message` is of another dialect. */
export function isOAuthError(schema: unknown): boolean {
  const { properties = {} } = schema as JsonSchema
  return 'error' in properties && 'error_description' in properties && !('message' in properties)
}

/**
 * Puts the schemas that have a title into the components, under it, and a reference in their place. A title
 * that two shapes share names neither: those stay where they are.
 */
export function shareTitled<Value>(value: Value): {
  value: Value
  schemas: Record<string, JsonSchema>
} {
  const shapes = new Map<string, Set<string>>()
  visit(value, (schema, title) => {
    const known = shapes.get(title) ?? new Set()
    shapes.set(title, known.add(JSON.stringify(schema)))
  })
  const schemas: Record<string, JsonSchema> = {}
  const replace = (node: unknown): unknown => {
    if (typeof node !== 'object' || node === null) return node
    if (Array.isArray(node)) return node.map(replace)
    const inner = Object.fromEntries(
      Object.entries(node).map(([key, part]) => [key, replace(part)]),
    )
    const title = titleOf(node)
    if (title === undefined || shapes.get(title)?.size !== 1) return inner
    schemas[title] = inner
    return { $ref: `#/components/schemas/${title}` }
  }
  const replaced = replace(value) as Value
  return { value: replaced, schemas: Object.fromEntries(Object.entries(schemas).sort()) }
}

function visit(node: unknown, see: (schema: JsonSchema, title: string) => void): void {
  if (typeof node !== 'object' || node === null) return
  const title = titleOf(node)
  if (title !== undefined) see(node as JsonSchema, title)
  for (const part of Object.values(node)) visit(part, see)
}

/** Of a schema of an object. An example may have a member of that name, which is none. */
function titleOf(node: object): string | undefined {
  const { title, type, properties } = node as JsonSchema
  const named = type === 'object' && typeof properties === 'object'
  return named && typeof title === 'string' && /^[A-Za-z]\w*$/.test(title) ? title : undefined
}

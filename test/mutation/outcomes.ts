/** What code says when its conditions are met: literals, properties, and the constants it goes by. */

import type { AnyNode, Literal, ObjectExpression, Property, SpreadElement } from 'acorn'
import type { Edit, Operator } from './conditions.ts'
import { enclosing, type Tree } from './syntax.ts'

export const OUTCOMES: Operator[] = [
  sayAnother,
  renameCase,
  loseProperty,
  loseElement,
  countOneMore,
]

/** For a string that has no like in the file. */
const NOBODY = "'mutant'"

function sayAnother(node: AnyNode, tree: Tree): Edit[] {
  if (roleOf(node, tree) === undefined || isLogged(node, tree)) return []
  const range = { start: node.start, end: node.end }
  if (node.type === 'Identifier' && node.name === 'undefined') return [{ ...range, to: NOBODY }]
  if (node.type === 'TemplateLiteral') {
    const isProse = node.quasis.some(({ value }) => isProseText(value.raw))
    return isProse ? [] : [{ ...range, to: NOBODY }]
  }
  if (node.type !== 'Literal' || node.regex) return []
  return replacements(node, tree).map((to) => ({ ...range, to }))
}

function replacements(literal: Literal, tree: Tree): string[] {
  const { value } = literal
  if (value === null) return [NOBODY]
  if (typeof value === 'boolean') return [String(!value)]
  if (typeof value === 'number') return [String(value + 1), String(value - 1)]
  if (typeof value !== 'string' || isProseText(value)) return []
  return [likeOf(literal, tree)]
}

/** A string said in the same role elsewhere: the likeliest mistake, and the hardest to see. */
function likeOf(literal: Literal, tree: Tree): string {
  const role = roleOf(literal, tree)
  const said = tree.nodes.filter(
    (node): node is Literal =>
      node.type === 'Literal' &&
      typeof node.value === 'string' &&
      !isProseText(node.value) &&
      roleOf(node, tree) === role,
  )
  const others = [...said.filter(({ start }) => start > literal.start), ...said]
  return others.find(({ value }) => value !== literal.value)?.raw ?? NOBODY
}

/** What a value is for, where it is an outcome at all. */
function roleOf(node: AnyNode, tree: Tree): string | undefined {
  const parent = tree.parentOf(node)
  switch (parent?.type) {
    case 'ConditionalExpression':
      return parent.test === node ? undefined : (roleOf(parent, tree) ?? 'chosen')
    case 'ReturnStatement':
      return 'returned'
    case 'ArrowFunctionExpression':
      return parent.body === node ? 'returned' : undefined
    case 'NewExpression':
      return parent.callee !== node && isRefusal(parent.callee) ? 'thrown' : undefined
    case 'Property': {
      const isValue = parent.value === node && tree.parentOf(parent)?.type === 'ObjectExpression'
      return isValue ? `property ${tree.source.slice(parent.key.start, parent.key.end)}` : undefined
    }
    case 'ArrayExpression': {
      const role = roleOf(parent, tree)
      return role && `element of ${role}`
    }
    case 'VariableDeclarator':
      return parent.init === node && isText(node) && isOutermost(node, tree)
        ? 'constant'
        : undefined
    default:
      return undefined
  }
}

function renameCase(node: AnyNode): Edit[] {
  if (node.type !== 'SwitchCase' || node.test?.type !== 'Literal') return []
  return [{ start: node.test.start, end: node.test.end, to: NOBODY }]
}

function loseProperty(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'ObjectExpression' || isLogged(node, tree)) return []
  return node.properties
    .map((property, i) => ({ property, range: rangeOfMember(node, node.properties, i) }))
    .filter(({ property }) => !isAsGoodAsLost(property))
    .map(({ range }) => ({ ...range, to: '' }))
}

/** Of a list of literals, each in turn. */
function loseElement(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'ArrayExpression' || isLogged(node, tree)) return []
  const literals = node.elements.filter((element) => element?.type === 'Literal')
  if (literals.length !== node.elements.length) return []
  return literals.map((_, i) => ({ ...rangeOfMember(node, literals, i), to: '' }))
}

/** Numbers that a file goes by. */
function countOneMore(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'Literal' || typeof node.value !== 'number') return []
  if (!isOutermost(node, tree)) return []
  return [{ start: node.start, end: node.end, to: String(node.value + 1) }]
}

/** With the comma after it. */
function rangeOfMember(list: AnyNode, members: readonly AnyNode[], i: number) {
  return { start: members[i]?.start ?? 0, end: members[i + 1]?.start ?? list.end - 1 }
}

/** A spread that depends on something loses its parts as a condition; what reads as nothing says nothing. */
function isAsGoodAsLost(property: ObjectExpression['properties'][number]): boolean {
  if (isSpread(property)) return property.argument.type === 'LogicalExpression'
  const { value } = property
  if (value.type === 'Identifier') return value.name === 'undefined'
  return value.type === 'Literal' && (value.value === null || value.value === false)
}

const isSpread = (property: Property | SpreadElement): property is SpreadElement =>
  property.type === 'SpreadElement'

const isText = (node: AnyNode): boolean => node.type === 'Literal' && typeof node.value === 'string'

const isProseText = (text: string): boolean => /\s/.test(text)

const isRefusal = (callee: AnyNode): boolean =>
  callee.type === 'Identifier' && /(Error|Refusal)$/.test(callee.name)

const isOutermost = (node: AnyNode, tree: Tree): boolean =>
  enclosing(node, tree, ({ type }) => /Function|Class/.test(type)) === undefined

const isLogged = (node: AnyNode, tree: Tree): boolean =>
  enclosing(
    node,
    tree,
    (outer) =>
      outer.type === 'CallExpression' &&
      /\blog\.\w+$/.test(tree.source.slice(outer.callee.start, outer.callee.end)),
  ) !== undefined

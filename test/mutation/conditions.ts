/** What a condition is broken into: its comparisons, its parts, and the whole of it forced. */

import type { AnyNode, BinaryExpression, LogicalExpression } from 'acorn'
import { enclosing, isReturned, methodOf, type Tree } from './syntax.ts'

/** `to` stands where `start` to `end` was. */
export type Edit = { start: number; end: number; to: string }
export type Operator = (node: AnyNode, tree: Tree) => Edit[]

export const CONDITIONS: Operator[] = [
  compare,
  compute,
  join,
  loseOperand,
  preferOneSide,
  force,
  forceAnswer,
  affirm,
  callAnother,
  loosenPattern,
]

/** The opposite, and for an order the same with its boundary moved. */
const COMPARISONS = new Map([
  ['===', ['!==']],
  ['!==', ['===']],
  ['==', ['!=']],
  ['!=', ['==']],
  ['<', ['<=', '>=']],
  ['<=', ['<', '>']],
  ['>', ['>=', '<=']],
  ['>=', ['>', '<']],
])
const ARITHMETIC = new Map(Object.entries({ '+': '-', '-': '+', '*': '/', '/': '*', '%': '*' }))

function compare(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'BinaryExpression') return []
  if (node.operator === 'in' || node.operator === 'instanceof') {
    return [{ ...rangeOf(node), to: `!(${textOf(node, tree)})` }]
  }
  return (COMPARISONS.get(node.operator) ?? []).map((operator) =>
    withOperator(node, operator, tree),
  )
}

function compute(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'BinaryExpression') return []
  const operator = ARITHMETIC.get(node.operator)
  if (operator === undefined || isText(node.left) || isText(node.right)) return []
  return [withOperator(node, operator, tree)]
}

function join(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'LogicalExpression' || node.operator === '??') return []
  const at = operatorAt(node, tree)
  const [left, right] = [
    tree.source.slice(node.start, at).trim(),
    tree.source.slice(at + node.operator.length, node.end).trim(),
  ]
  const operator = node.operator === '&&' ? '||' : '&&'
  const to = `${isBareLeft(node) ? `(${left})` : left} ${operator} ${right}`
  const inAnother = tree.parentOf(node)?.type === 'LogicalExpression'
  return [{ ...rangeOf(node), to: inAnother ? `(${to})` : to }]
}

/** `a && b && c` without each of them in turn. */
function loseOperand(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'LogicalExpression' || node.operator === '??') return []
  const parent = tree.parentOf(node)
  const isPart =
    parent?.type === 'LogicalExpression' &&
    parent.operator === node.operator &&
    parent.left === node &&
    isBareLeft(parent)
  if (isPart) return []

  const operators: number[] = []
  let first: AnyNode = node
  while (first.type === 'LogicalExpression' && first.operator === node.operator) {
    operators.unshift(operatorAt(first, tree))
    if (!isBareLeft(first)) break
    first = first.left
  }
  const [second = 0] = operators
  const next = second + node.operator.length
  const lost = [
    { start: node.start, end: next + tree.code.slice(next).search(/\S/), to: '' },
    ...operators.map((at, i) => ({ start: at, end: operators[i + 1] ?? node.end, to: '' })),
  ]
  // Properties that are spread are lost one by one.
  const isSpread = parent?.type === 'SpreadElement' && node.right.type === 'ObjectExpression'
  return isSpread ? lost.slice(0, -1) : lost
}

function preferOneSide(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'LogicalExpression' || node.operator !== '??') return []
  return [node.left, node.right].map((side) => ({ ...rangeOf(node), to: inBrackets(side, tree) }))
}

function force(node: AnyNode): Edit[] {
  const isConditional =
    node.type === 'IfStatement' ||
    node.type === 'ConditionalExpression' ||
    node.type === 'WhileStatement' ||
    node.type === 'DoWhileStatement' ||
    node.type === 'ForStatement'
  if (!isConditional || !node.test || node.test.type === 'Literal') return []
  return bothWays(node.test)
}

/** What a predicate answers: by its own signature, by whom it is for, or by what it looks like. */
function forceAnswer(node: AnyNode, tree: Tree): Edit[] {
  if (!isReturned(node, tree)) return []
  if (['Literal', 'ConditionalExpression', 'BlockStatement'].includes(node.type)) return []
  return looksBoolean(node) || isInPredicate(node, tree) ? bothWays(node) : []
}

function affirm(node: AnyNode, tree: Tree): Edit[] {
  if (node.type !== 'UnaryExpression' || node.operator !== '!') return []
  return [{ ...rangeOf(node), to: inBrackets(node.argument, tree) }]
}

const OTHER_METHOD = new Map(
  Object.entries({ some: 'every', every: 'some', min: 'max', max: 'min' }),
)

function callAnother(node: AnyNode, tree: Tree): Edit[] {
  const method = methodOf(node)
  if (method === undefined || node.type !== 'CallExpression') return []
  if (node.callee.type !== 'MemberExpression') return []
  const { object, property } = node.callee
  const other = OTHER_METHOD.get(method)
  if (other !== undefined) {
    return [
      {
        start: node.start,
        end: property.end,
        to: tree.source.slice(node.start, property.start) + other,
      },
    ]
  }
  // An arrow that is one expression is forced to answer `true`, which is the same.
  const [judge] = node.arguments
  const isForced = judge?.type === 'ArrowFunctionExpression' && judge.expression
  if (method !== 'filter' || isForced) return []
  return [{ ...rangeOf(node), to: inBrackets(object, tree) }]
}

/** A pattern that no longer begins, or ends, where it did. */
function loosenPattern(node: AnyNode, tree: Tree): Edit[] {
  const text = textOf(node, tree)
  const isPattern =
    (node.type === 'Literal' && node.regex !== undefined) ||
    (node.type === 'TemplateLiteral' && /^`\^.*\$`$/s.test(text))
  if (!isPattern) return []
  return [text.replace(/^([/`])\^/, '$1'), text.replace(/(?<!\\)\$([/`]\w*)$/, '$1')].map((to) => ({
    ...rangeOf(node),
    to,
  }))
}

const rangeOf = ({ start, end }: AnyNode) => ({ start, end })

const textOf = (node: AnyNode, tree: Tree): string => tree.source.slice(node.start, node.end)

const bothWays = (node: AnyNode): Edit[] =>
  ['true', 'false'].map((to) => ({ ...rangeOf(node), to }))

const LOOSE = [
  'LogicalExpression',
  'ConditionalExpression',
  'BinaryExpression',
  'ArrowFunctionExpression',
  'AssignmentExpression',
  'AwaitExpression',
]

const inBrackets = (node: AnyNode, tree: Tree): string =>
  LOOSE.includes(node.type) ? `(${textOf(node, tree)})` : textOf(node, tree)

type Dyadic = BinaryExpression | LogicalExpression

function withOperator(node: Dyadic, operator: string, tree: Tree): Edit {
  const at = operatorAt(node, tree)
  const before = tree.source.slice(node.start, at)
  const after = tree.source.slice(at + node.operator.length, node.end)
  return { ...rangeOf(node), to: before + operator + after }
}

const operatorAt = (node: Dyadic, tree: Tree): number =>
  tree.code.indexOf(node.operator, node.left.end)

/** Its left side is a logical expression that stands in no brackets. */
const isBareLeft = ({ start, left }: LogicalExpression): boolean =>
  left.type === 'LogicalExpression' && left.start === start

const isText = (node: AnyNode): boolean =>
  node.type === 'TemplateLiteral' || (node.type === 'Literal' && typeof node.value === 'string')

const JUDGES = ['filter', 'find', 'findIndex', 'findLast', 'some', 'every']
const ANSWERS = ['some', 'every', 'includes', 'has', 'test', 'startsWith', 'endsWith', 'isArray']

function looksBoolean(node: AnyNode): boolean {
  if (node.type === 'BinaryExpression') {
    return COMPARISONS.has(node.operator) || ['in', 'instanceof'].includes(node.operator)
  }
  if (node.type === 'LogicalExpression') {
    return node.operator !== '??' && looksBoolean(node.left) && looksBoolean(node.right)
  }
  if (node.type === 'UnaryExpression') return node.operator === '!'
  return ANSWERS.includes(methodOf(node) ?? '')
}

function isInPredicate(node: AnyNode, tree: Tree): boolean {
  const asked = enclosing(node, tree, ({ type }) => /Function/.test(type))
  const isFunction =
    asked?.type === 'ArrowFunctionExpression' ||
    asked?.type === 'FunctionDeclaration' ||
    asked?.type === 'FunctionExpression'
  if (!isFunction) return false
  const asker = tree.parentOf(asked)
  if (asker && asker.type === 'CallExpression' && JUDGES.includes(methodOf(asker) ?? ''))
    return true
  // The tree knows no types: they stand between the parameters and the body.
  const signature = tree.source.slice(asked.params.at(-1)?.end ?? asked.start, asked.body.start)
  return /\)\s*:\s*(boolean|Promise<boolean>|\w+ is [^=]+)\s*(=>)?\s*\(?$/.test(signature.trim())
}

import { stripTypeScriptTypes } from 'node:module'
import { type AnyNode, parse } from 'acorn'

/** A source file as a syntax tree of what is left of it when it runs: no types. */
export type Tree = {
  /** As written. */
  source: string
  /** The same with types and comments blanked: every offset is that of `source`. */
  code: string
  nodes: AnyNode[]
  parentOf(node: AnyNode): AnyNode | undefined
}

/** @throws {SyntaxError} for a text that is no module. */
export function readTree(source: string): Tree {
  const stripped = stripTypeScriptTypes(source, { mode: 'strip' })
  let code = stripped
  const program = parse(stripped, {
    ecmaVersion: 'latest',
    sourceType: 'module',
    onComment: (_block, _text, start, end) => {
      code = code.slice(0, start) + ' '.repeat(end - start) + code.slice(end)
    },
  })
  const parents = new Map<AnyNode, AnyNode>()
  const nodes: AnyNode[] = []
  const visit = (node: AnyNode) => {
    nodes.push(node)
    for (const child of childrenOf(node)) {
      parents.set(child, node)
      visit(child)
    }
  }
  visit(program)
  return { source, code, nodes, parentOf: (node) => parents.get(node) }
}

/** The answer of a function: after `return`, of an arrow without a block, or a branch of one of these. */
export function isReturned(node: AnyNode, tree: Tree): boolean {
  const parent = tree.parentOf(node)
  if (parent?.type === 'ConditionalExpression') {
    return parent.test !== node && isReturned(parent, tree)
  }
  if (parent?.type === 'ArrowFunctionExpression') return parent.body === node && parent.expression
  return parent?.type === 'ReturnStatement'
}

export function enclosing(
  node: AnyNode,
  tree: Tree,
  isMeant: (outer: AnyNode) => boolean,
): AnyNode | undefined {
  let outer = tree.parentOf(node)
  while (outer !== undefined && !isMeant(outer)) outer = tree.parentOf(outer)
  return outer
}

/** `some` of `list.some(…)`. */
export const methodOf = (node: AnyNode): string | undefined =>
  node.type === 'CallExpression' &&
  node.callee.type === 'MemberExpression' &&
  node.callee.property.type === 'Identifier'
    ? node.callee.property.name
    : undefined

const childrenOf = (node: AnyNode): AnyNode[] => Object.values(node).flat().filter(isNode)

const isNode = (value: unknown): value is AnyNode =>
  typeof value === 'object' && value !== null && 'type' in value && 'start' in value

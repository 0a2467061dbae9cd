import type { AnyNode, CallExpression } from 'acorn'
import { enclosing, readTree, type Tree } from '../mutation/syntax.ts'

/**
 * The texts that stand in the titles of a test file: the titles themselves, and what tables beside the tests
 * put into them. Not a comment, not what an assertion says, and nothing within a test but a test of its own.
 */
export function titlesOf(source: string): string[] {
  const tree = readTree(source)
  return tree.nodes.filter((node) => isTitle(node, tree)).flatMap(textsOf)
}

function isTitle(node: AnyNode, tree: Tree): boolean {
  if (node.type !== 'Literal' && node.type !== 'TemplateLiteral') return false
  const parent = tree.parentOf(node)
  if (parent && isTest(parent) && parent.arguments[0] === node) return true
  return enclosing(node, tree, (outer) => isTest(outer) || isOther(outer)) === undefined
}

const textsOf = (node: AnyNode): string[] => {
  if (node.type === 'TemplateLiteral') return node.quasis.map(({ value }) => value.cooked ?? '')
  return node.type === 'Literal' && typeof node.value === 'string' ? [node.value] : []
}

/** What is imported, and what is asserted beside the tests. */
const isOther = (node: AnyNode): boolean =>
  node.type === 'ImportDeclaration' ||
  (node.type === 'CallExpression' && rootOf(node.callee) === 'assert')

/** `assert` of `assert.ok`. */
function rootOf(node: AnyNode): string | undefined {
  if (node.type === 'MemberExpression') return rootOf(node.object)
  return node.type === 'Identifier' ? node.name : undefined
}

/** `test(…)` and `t.test(…)`; a `describe` holds tests and tables alike. */
const isTest = (node: AnyNode): node is CallExpression =>
  node.type === 'CallExpression' &&
  ((node.callee.type === 'Identifier' && node.callee.name === 'test') ||
    (node.callee.type === 'MemberExpression' &&
      node.callee.property.type === 'Identifier' &&
      node.callee.property.name === 'test'))

/**
 * The ways in which one source file can be broken at one place. Pure: a text in, mutants out. The rules are
 * in conditions.ts and outcomes.ts; types, imports, prose and what is logged are left alone.
 */

import { CONDITIONS } from './conditions.ts'
import { OUTCOMES } from './outcomes.ts'
import { readTree } from './syntax.ts'

export type Mutant = {
  file: string
  /** Both from 1, as editors count. */
  line: number
  column: number
  /** Offsets of `from` in the file. */
  start: number
  end: number
  from: string
  /** Empty where something was taken away. */
  to: string
}

/** In the order of the file; of several that come to the same text, one. */
export function mutantsOf(file: string, source: string): Mutant[] {
  const tree = readTree(source)
  const edits = tree.nodes.flatMap((node) =>
    [...CONDITIONS, ...OUTCOMES].flatMap((operator) => operator(node, tree)),
  )
  const mutants = new Map<string, Mutant>()
  for (const { start, end, to } of edits) {
    const mutant = {
      file,
      ...placeOf(start, source),
      start,
      end,
      from: source.slice(start, end),
      to,
    }
    const text = mutate(source, mutant)
    if (text !== source && !mutants.has(text)) mutants.set(text, mutant)
  }
  return [...mutants.values()].sort((a, b) => a.start - b.start)
}

export const mutate = (source: string, { start, end, to }: Mutant): string =>
  source.slice(0, start) + to + source.slice(end)

function placeOf(offset: number, source: string) {
  const before = source.slice(0, offset).split('\n')
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 }
}

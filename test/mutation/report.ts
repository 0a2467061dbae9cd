/** What the run found, in words. Pure. */

import type { Equivalent } from './equivalent.ts'
import type { Mutant } from './mutants.ts'

/** Of the mutants that have to be caught. */
export const REQUIRED = 0.9

export type Verdict = {
  mutant: Mutant
  /** The test that failed, or ran out of time; undefined for a survivor. */
  caughtBy: string | undefined
  timedOut: boolean
}

export function ofFile(file: string, verdicts: Verdict[], known: Equivalent[]): string[] {
  const survivors = verdicts.filter(({ caughtBy }) => caughtBy === undefined)
  const late = verdicts.filter(({ timedOut }) => timedOut).length
  return [
    `${file}: ${verdicts.length - survivors.length} of ${verdicts.length} caught${late > 0 ? `, ${late} of them by running out of time` : ''}`,
    ...survivors.map(({ mutant }) => {
      const equivalent = known.find((one) => isSame(one, mutant))
      return `  ${equivalent ? 'equivalent' : 'survived'} ${describe(mutant)}${equivalent ? ` (${equivalent.reason})` : ''}`
    }),
  ]
}

export function ofRun(verdicts: Verdict[], known: Equivalent[]): { lines: string[]; ok: boolean } {
  const survivors = verdicts.filter(({ caughtBy }) => caughtBy === undefined)
  const equivalents = survivors.filter(({ mutant }) => known.some((one) => isSame(one, mutant)))
  const caught = verdicts.length - survivors.length
  const ratio = verdicts.length === 0 ? 0 : caught / verdicts.length
  const wrong = verdicts.filter(
    ({ mutant, caughtBy }) => caughtBy !== undefined && known.some((one) => isSame(one, mutant)),
  )
  return {
    lines: [
      ...wrong.map(
        ({ mutant, caughtBy }) => `not equivalent after all, see ${caughtBy}: ${describe(mutant)}`,
      ),
      `${caught} of ${verdicts.length} mutants caught: ${percent(ratio)}, of at least ${percent(REQUIRED)}; ` +
        `of the ${survivors.length} others ${equivalents.length} are known to be equivalent`,
    ],
    ok: ratio >= REQUIRED && wrong.length === 0,
  }
}

/** Entries that fit no mutant any more. */
export const stale = (mutants: Mutant[], known: Equivalent[]): Equivalent[] =>
  known.filter((one) => !mutants.some((mutant) => isSame(one, mutant)))

export const describe = ({ file, line, column, from, to }: Mutant): string =>
  `${file}:${line}:${column}  ${onOneLine(from)}  →  ${onOneLine(to) || 'nothing'}`

const isSame = (one: Equivalent, mutant: Mutant): boolean =>
  one.file === mutant.file &&
  onOneLine(one.from) === onOneLine(mutant.from) &&
  onOneLine(one.to) === onOneLine(mutant.to)

const onOneLine = (text: string): string => text.replace(/\s+/g, ' ').trim()

/** Rounded down: 90 % is not said of less. */
const percent = (ratio: number): string => `${Math.floor(ratio * 1000) / 10} %`

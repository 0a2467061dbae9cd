import fc from 'fast-check'

/** Cases of the largest property, of which the others take a share. FUZZ_RUNS=20000 is the long mode. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 250)

/** Milliseconds in which any request is answered, however busy the machine is. */
const PATIENCE = 30_000

/** Whether there is time to try everything there is, and not a part of it. */
export const isLong = RUNS >= 5_000

/** Judges as many cases as the run has time for. To see one again: FUZZ_SEED and FUZZ_PATH, which a failure names. */
export function attack<Case>(
  cases: fc.Arbitrary<Case>,
  judge: (one: Case) => Promise<void>,
  share = 1,
): Promise<void> {
  const { FUZZ_SEED, FUZZ_PATH } = process.env
  return fc.assert(fc.asyncProperty(cases, judge), {
    numRuns: Math.ceil(RUNS * share),
    timeout: PATIENCE,
    ...(FUZZ_SEED && { seed: Number(FUZZ_SEED) }),
    ...(FUZZ_PATH && { path: FUZZ_PATH }),
  })
}

/** All of them where there is time, else as many by chance. */
export const some = <One>(all: readonly One[], most: number): One[] => {
  if (isLong || all.length <= most) return [...all]
  const [chosen = []] = fc.sample(
    fc.shuffledSubarray([...all], { minLength: most, maxLength: most }),
    1,
  )
  return chosen
}

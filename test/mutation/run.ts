/**
 * `npm run mutate`: breaks the policy, the verifiers and the claim writer at one place at a time, and sees
 * whether a test fails. Each mutant meets the test files of its row in targets.ts, one after another, until
 * one of them fails. The sources on the disk stay as they are.
 *
 *   --only src/policy/decide.ts   one file, one line of it (`…decide.ts:57`) or a folder; may be repeated
 *   --max 50                      so many mutants at the most, spread over all
 *   --list                        name the mutants, and try none
 *   --jobs 2                      so many at once
 */

import { readFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startTestServer } from '../support/test-server.ts'
import { type Databases, openDatabases } from './databases.ts'
import { EQUIVALENT } from './equivalent.ts'
import { type Mutant, mutantsOf, mutate } from './mutants.ts'
import { describe, ofFile, ofRun, stale, type Verdict } from './report.ts'
import { type Result, runTest } from './run-test.ts'
import { readTree } from './syntax.ts'
import { findTargets, root, type Target } from './targets.ts'

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: ['src/'] },
    max: { type: 'string' },
    list: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '2' },
  },
})

const read = (file: string) => readFileSync(join(root, file), 'utf8')
const say = (line: string) => process.stdout.write(`${line}\n`)

const targets = findTargets().filter(({ file }) =>
  options.only.some((one) => file.startsWith(one.replace(/:\d+$/, ''))),
)
const sources = new Map(targets.map(({ file }) => [file, read(file)]))
const all = [...sources].flatMap(([file, source]) => mutantsOf(file, source))
const chosen = spread(all.filter(isAskedFor), Number(options.max ?? Number.POSITIVE_INFINITY))

if (chosen.length === 0) throw new Error(`no mutant is asked for by ${options.only.join(', ')}`)
if (options.list) for (const mutant of chosen) say(describe(mutant))
else process.exitCode = (await tryAll()) ? 0 : 1

async function tryAll(): Promise<boolean> {
  for (const mutant of chosen) requireReadable(mutant)
  // It takes long, and somebody may be at work here.
  setPriority(10)
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
  const server = await startTestServer()
  try {
    const workers = await Promise.all(
      Array.from({ length: Number(options.jobs) }, (_, i) => openDatabases(server, `w${i}`)),
    )
    const unbroken = await tryUnbroken(workers, stop.signal)
    return unbroken !== undefined && (await tryMutants(workers, unbroken, stop.signal))
  } finally {
    await server.stop()
  }
}

/** Every test has to pass as things are, or its failing would say nothing. */
async function tryUnbroken(workers: Databases[], signal: AbortSignal) {
  const results = new Map<string, Result>()
  const needed = targets.filter(({ file }) => chosen.some((mutant) => mutant.file === file))
  const tests = [...new Set(needed.flatMap((target) => target.tests))]
  await share(workers, tests, signal, async (test, { server }) => {
    results.set(test, await runTest({ test, server, patience: 300, untilFailure: false, signal }))
  })
  if (signal.aborted) return undefined
  const failed = [...results].filter(([, { verdict }]) => verdict !== 'passed')
  for (const [test, { verdict, output }] of failed) {
    say(`${test} ${verdict} without a mutant:\n${output.slice(0, 40).join('\n')}`)
  }
  return failed.length === 0 ? results : undefined
}

async function tryMutants(
  workers: Databases[],
  unbroken: Map<string, Result>,
  signal: AbortSignal,
): Promise<boolean> {
  const verdicts: Verdict[] = []
  await share(workers, chosen, signal, async (mutant, databases) => {
    const target = targets.find(({ file }) => file === mutant.file)
    if (!target) return
    verdicts.push(await tryMutant(mutant, target, unbroken, databases, signal))
    const ofThis = verdicts.filter((verdict) => verdict.mutant.file === mutant.file)
    const expected = chosen.filter(({ file }) => file === mutant.file)
    if (signal.aborted || ofThis.length < expected.length) return
    for (const line of ofFile(mutant.file, ofThis, EQUIVALENT)) say(line)
  })
  if (signal.aborted) return false
  const { lines, ok } = ofRun(verdicts, EQUIVALENT)
  for (const line of lines) say(line)
  return faultsOfRun() && ok
}

async function tryMutant(
  mutant: Mutant,
  { file, tests }: Target,
  unbroken: Map<string, Result>,
  databases: Databases,
  signal: AbortSignal,
): Promise<Verdict> {
  const replaced = { file, source: mutate(sources.get(file) ?? '', mutant) }
  for (const test of tests) {
    const before = unbroken.get(test)
    if (!before?.loaded.has(file)) continue
    const patience = 30 + 5 * before.seconds
    const { verdict } = await runTest({
      test,
      server: databases.server,
      patience,
      untilFailure: true,
      signal,
      replaced,
    })
    if (verdict === 'passed') continue
    await databases.clear()
    return { mutant, caughtBy: test, timedOut: verdict === 'timed out' }
  }
  return { mutant, caughtBy: undefined, timedOut: false }
}

/** A mutant that is no program would count as caught. */
function requireReadable(mutant: Mutant): void {
  try {
    readTree(mutate(sources.get(mutant.file) ?? '', mutant))
  } catch (cause) {
    throw new Error(`no program any more: ${describe(mutant)}`, { cause })
  }
}

/** What makes the figures worthless, whatever they are. */
function faultsOfRun(): boolean {
  const changed = [...sources].filter(([file, source]) => read(file) !== source)
  for (const [file] of changed) say(`${file} was changed during the run`)
  const gone = stale(
    all,
    EQUIVALENT.filter(({ file }) => sources.has(file)),
  )
  for (const { file, from } of gone) say(`equivalent.ts: ${file} makes no such mutant of ${from}`)
  return changed.length === 0 && gone.length === 0
}

async function share<T>(
  workers: Databases[],
  work: T[],
  signal: AbortSignal,
  act: (one: T, databases: Databases) => Promise<void>,
): Promise<void> {
  const left = work.values()
  await Promise.all(
    workers.map(async (databases) => {
      for (const one of left) {
        if (signal.aborted) return
        await act(one, databases)
      }
    }),
  )
}

function isAskedFor({ file, line }: Mutant): boolean {
  return options.only.some((one) =>
    /:\d+$/.test(one) ? one === `${file}:${line}` : file.startsWith(one),
  )
}

function spread<T>(list: T[], most: number): T[] {
  if (list.length <= most) return list
  return Array.from({ length: most }, (_, i) => list[Math.floor((i * list.length) / most)] as T)
}

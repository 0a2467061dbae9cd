// What `npm run mutate` breaks: each rule on a line that it is about.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { EQUIVALENT } from '../mutation/equivalent.ts'
import { mutantsOf, mutate } from '../mutation/mutants.ts'
import { describe as inWords, ofFile, ofRun, stale } from '../mutation/report.ts'
import { readTree } from '../mutation/syntax.ts'
import { findTargets, root } from '../mutation/targets.ts'

/** The whole text that each mutant comes to, white space apart. */
const broken = (source: string) =>
  mutantsOf('src/x.ts', source).map((mutant) => mutate(source, mutant).replace(/\s+/g, ' ').trim())

const RULES: [string, string, string[]][] = [
  [
    'a comparison is turned round, and its boundary moved',
    'if (a < b) c()',
    ['if (true) c()', 'if (false) c()', 'if (a <= b) c()', 'if (a >= b) c()'],
  ],
  [
    'a condition is forced, its parts are joined otherwise and taken away',
    'while (a && b) c()',
    [
      'while (true) c()',
      'while (false) c()',
      'while (a || b) c()',
      'while (b) c()',
      'while (a ) c()',
    ],
  ],
  [
    'brackets stay where they mattered',
    'x = a || b && c || d',
    [
      'x = (a || b && c) && d',
      'x = b && c || d',
      'x = (a && b && c) || d',
      'x = a || d',
      'x = a || (b || c) || d',
      'x = a || c || d',
      'x = a || b || d',
      'x = a || b && c',
    ],
  ],
  ['a default is always taken, or never', 'x = a ?? b', ['x = a', 'x = b']],
  [
    'a negation falls away',
    'x = !(a || b)',
    ['x = (a || b)', 'x = !(a && b)', 'x = !(b)', 'x = !(a )'],
  ],
  [
    'a predicate that says so in its type is forced',
    'const f = (a: A): boolean => g(a)',
    ['const f = (a: A): boolean => true', 'const f = (a: A): boolean => false'],
  ],
  [
    'a filter lets everything through, and nothing',
    'x = a.filter((b) => c(b))',
    ['x = a.filter((b) => true)', 'x = a.filter((b) => false)'],
  ],
  ['a filter by name is left out', 'x = a.filter(isB)', ['x = a']],
  ['some and every change places', 'x = a.some(isB)', ['x = a.every(isB)']],
  ['min and max change places', 'x = Math.min(a, b)', ['x = Math.max(a, b)']],
  [
    'a sum becomes a difference, a joined text stays',
    "x = a + b; y = a + 'b'",
    ["x = a - b; y = a + 'b'"],
  ],
  ['a pattern loses its ends', 'x = /^a$/', ['x = /a$/', 'x = /^a/']],
  [
    'an answer becomes another of the file',
    "function f() { if (a()) return 'b'; return 'c' }",
    [
      "function f() { if (true) return 'b'; return 'c' }",
      "function f() { if (false) return 'b'; return 'c' }",
      "function f() { if (a()) return 'c'; return 'c' }",
      "function f() { if (a()) return 'b'; return 'b' }",
    ],
  ],
  ['no answer becomes one', 'const f = () => undefined', ["const f = () => 'mutant'"]],
  [
    'an answered number is off by one',
    'const f = () => 1',
    ['const f = () => 2', 'const f = () => 0'],
  ],
  [
    'an answered object loses its properties, or says otherwise',
    'const f = () => ({ a: true, b, ...(c && { d }) })',
    [
      'const f = () => ({ b, ...(c && { d }) })',
      'const f = () => ({ a: false, b, ...(c && { d }) })',
      'const f = () => ({ a: true, ...(c && { d }) })',
      'const f = () => ({ a: true, b, ...(c || { d }) })',
      'const f = () => ({ a: true, b, ...({ d }) })',
      'const f = () => ({ a: true, b, ...(c && { }) })',
    ],
  ],
  ['a list loses its elements', "const A = ['b', 'c']", ["const A = ['c']", "const A = ['b', ]"]],
  ['a number that the file goes by grows', 'const A: number = 60', ['const A: number = 61']],
  ['a case is another one', "switch (a) { case 'b': c() }", ["switch (a) { case 'mutant': c() }"]],
  [
    'the code of an error changes, its prose does not',
    "throw new AnyError('a', 'What went wrong')",
    ["throw new AnyError('mutant', 'What went wrong')"],
  ],
  [
    'types, imports, comments and logs are left alone',
    "import a from 'a'\ntype B = 'b' | 'c'\n// if (a < b)\nlog.info({ d: true }, 'e')",
    [],
  ],
]

for (const [title, source, expected] of RULES) {
  test(`mutants: ${title}`, () => {
    assert.deepEqual(broken(source).sort(), expected.toSorted())
  })
}

test('mutants: a place is where an editor finds it, and the rest of the text stays', () => {
  const [mutant] = mutantsOf('src/x.ts', 'type A = 1\nx = a as A ?? b')
  assert.deepEqual(mutant, {
    file: 'src/x.ts',
    line: 2,
    column: 5,
    start: 15,
    end: 26,
    from: 'a as A ?? b',
    to: 'a',
  })
})

test('mutants: every target has some, and every one can be read', () => {
  const targets = findTargets()
  assert.ok(targets.length > 12)
  for (const { file, tests } of targets) {
    assert.ok(tests.length > 0, `no test is named for ${file}`)
  }
  const source = readFileSync(join(root, 'src/token/subject.ts'), 'utf8')
  const mutants = mutantsOf('src/token/subject.ts', source)
  assert.ok(mutants.length > 100)
  for (const mutant of mutants) {
    assert.doesNotThrow(() => readTree(mutate(source, mutant)), inWords(mutant))
  }
})

test('the report counts what is equivalent as not caught, and nine of ten as enough', () => {
  const [one, other] = mutantsOf('src/x.ts', 'x = a ?? b')
  assert.ok(one && other)
  const caught = { mutant: one, caughtBy: 'test/x.test.ts', timedOut: false }
  const survivor = { mutant: other, caughtBy: undefined, timedOut: false }
  const known = [{ file: 'src/x.ts', from: 'a  ?? b', to: 'b', reason: 'a is never there' }]
  assert.deepEqual(ofFile('src/x.ts', [caught, survivor], known), [
    'src/x.ts: 1 of 2 caught',
    '  equivalent src/x.ts:1:5  a ?? b  →  b (a is never there)',
  ])
  assert.equal(ofRun([...Array(9).fill(caught), survivor], known).ok, true)
  assert.equal(ofRun([...Array(8).fill(caught), survivor], known).ok, false)
  assert.equal(ofRun([], known).ok, false)
  // What a test tells from the original is not equivalent to it.
  assert.equal(ofRun([{ ...caught, mutant: other }], known).ok, false)
  assert.deepEqual(stale([one], known), known)
  assert.deepEqual(stale([other], known), [])
})

test('what is called equivalent has its reason', () => {
  for (const { from, reason } of EQUIVALENT) assert.ok(reason.length > 20, from)
})

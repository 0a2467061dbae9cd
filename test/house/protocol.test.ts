// docs/protocol.md is the table of what is kept: each id once, with its level, and nothing cited that is not there.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { complete, idsIn, levels, vectors } from './requirements.ts'
import { titlesOf } from './titles.ts'

const root = resolve(import.meta.dirname, '../..')
const read = (...path: string[]) => readFileSync(join(root, ...path), 'utf8')

/** Cells of the rows that begin with an id. */
const rows = read('docs/protocol.md')
  .split('\n')
  .filter((line) => /^\| [A-Z]{2}-\d/.test(line))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
const vectorRows = rows.filter(([ids = '']) => ids.startsWith('TV-'))
const kept = rows.filter((row) => row.length === 5)
const notBuilt = rows.filter((row) => row.length === 4)

/** The files in a cell, each with what is quoted of a title of its. */
const citedIn = (cell: string) =>
  [...cell.matchAll(/`([\w./-]+\.ts)`(?: "([^"]+)")?/g)].map(([, path = '', quoted]) => ({
    path,
    quoted,
  }))

const known = new Map<string, string[]>()
function titlesIn(path: string): string[] {
  assert.ok(existsSync(join(root, 'test', path)), `there is no test/${path}`)
  const titles = known.get(path) ?? titlesOf(read('test', path))
  known.set(path, titles)
  return titles
}

/** That each of these files shows one of the ids at least, or has the title, and that no id is without. */
function assertShown(ids: string[], cell: string): void {
  const cited = citedIn(cell)
  const shown = new Set<string>()
  for (const { path, quoted } of cited) {
    const titles = titlesIn(path)
    if (quoted !== undefined) {
      assert.ok(
        titles.some((title) => title.includes(quoted)),
        `test/${path} has no test "${quoted}"`,
      )
      continue
    }
    const own = titles.flatMap(idsIn).filter((id) => ids.includes(id))
    assert.ok(own.length > 0, `no title of test/${path} names ${ids}`)
    for (const id of own) shown.add(id)
  }
  if (cited.some(({ quoted }) => quoted !== undefined)) return
  for (const id of ids) assert.ok(shown.has(id), `no test cited for ${id} names it`)
}

describe('docs/protocol.md', () => {
  test('has rows of every kind', () => {
    assert.equal(kept.length + notBuilt.length + vectorRows.length, rows.length)
    assert.ok(kept.length > 150 && notBuilt.length > 10 && vectorRows.length > 20)
  })

  test('has each requirement once, as binding as it is', () => {
    const seen = new Set<string>()
    for (const [ids = '', level] of [...kept, ...notBuilt]) {
      for (const id of idsIn(ids)) {
        assert.ok(!seen.has(id), `${id} has two rows`)
        assert.equal(level, levels.get(id), id)
        seen.add(id)
      }
    }
    for (const id of complete) assert.ok(seen.has(id), `${id} is missing`)
  })

  for (const [ids = '', , we = '', tests = '', sources = ''] of kept) {
    test(`says by which test, and where, ${ids} is kept`, () => {
      assert.ok(we.length > 10, we)
      assert.ok(citedIn(tests).length > 0, 'no test is cited')
      assertShown(idsIn(ids), tests)
      assert.ok(citedIn(sources).length > 0, 'no source is cited')
      for (const { path } of citedIn(sources)) {
        assert.ok(existsSync(join(root, 'src', path)), `there is no src/${path}`)
      }
    })
  }

  for (const [ids = '', , why = '', tests = ''] of notBuilt) {
    test(`says why ${ids} is not`, () => {
      assert.ok(why.length > 20 || [...levels.keys()].some((id) => why === `as ${id}`), why)
      if (tests !== '') assertShown(idsIn(ids), tests)
    })
  }

  test('names for each vector the tests that have it', () => {
    const seen: string[] = []
    for (const [ids = '', , tests = ''] of vectorRows) {
      const named = citedIn(tests).flatMap(({ path }) => titlesIn(path).flatMap(idsIn))
      for (const id of idsIn(ids)) assert.ok(named.includes(id), `no test cited for ${id} has it`)
      assertShown(idsIn(ids), tests)
      seen.push(...idsIn(ids))
    }
    assert.deepEqual(seen.toSorted(), vectors.toSorted())
  })
})

test('a title is that of a test or of a table beside it, not a comment, and not what an assertion says', () => {
  const source = `
    // (TX-01)
    import assert from 'TX-02'
    const rows = [['a row (TX-03)', \`another \${rows} (TX-04)\`]]
    for (const [name] of rows) {
      test(\`\${name} (TX-05)\`, async (t) => {
        assert.ok(name, 'TX-06')
        const table = ['TX-07'] /* TX-08 */
        await t.test('a part (TX-09…TX-11)', () => {})
      })
    }
    describe('a group (TX-12 to TX-14)', () => { test('TX-16', () => 'TX-15') })
    assert.ok(rows, 'TX-17')`
  const ids = [3, 4, 5, 9, 10, 11, 12, 13, 14, 16].map((n) => `TX-${String(n).padStart(2, '0')}`)
  assert.deepEqual(titlesOf(source).flatMap(idsIn).toSorted(), ids)
})

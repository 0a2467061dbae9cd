// What the documents say of the repository: links, paths, settings and commands lead somewhere.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'

const root = resolve(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const documents = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => join('docs', path)),
]

for (const path of documents) {
  test(`what ${path} links to and names is there`, () => {
    const text = read(path)
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?:|#)/.test(target)) continue
      const file = target.split('#')[0] ?? ''
      assert.ok(existsSync(join(root, dirname(path), file)), `${path} links to ${target}`)
    }
  })
}

test('the files that docs/issuance.md goes through are there', () => {
  const paths = [...read('docs/issuance.md').matchAll(/`([\w-]+\/[\w-]+\.ts)`/g)].map(
    ([, one]) => one,
  )
  assert.ok(paths.length > 20)
  for (const path of paths) assert.ok(existsSync(join(root, 'src', path ?? '')), path)
})

test('README.md lists every setting that config.ts reads, and no other', () => {
  const table = read('README.md').split('## Settings')[1]?.split('\n## ')[0] ?? ''
  const listed = [...table.matchAll(/^\| ([^|]+) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name),
  )
  const source = read('src/config.ts')
  const settings = [...source.matchAll(/\b(?:text|seconds|choice)(?:<[^>]*>)?\(\s*'([A-Z_]+)'/g)]
  const expected = new Set([...settings.map(([, name]) => name), 'TEST_DATABASE_URL'])
  assert.deepEqual(new Set(listed), expected)
})

test('the commands that README.md and docs/ name are there', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const path of documents) {
    for (const [, name = ''] of read(path).matchAll(/npm run ([a-z:-]+)/g)) {
      assert.ok(scripts[name], `${path} names npm run ${name}`)
    }
  }
})

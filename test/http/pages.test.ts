import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { csrfMatches, csrfToken } from '../../src/http/csrf.ts'
import { type HtmlPart, html, htmlText } from '../../src/http/html.ts'
import { readReturnTo } from '../../src/http/return-to.ts'
import { newSecret } from '../../src/oauth/secret.ts'

test('whatever is inserted into a page stays text', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const page = htmlText(html`<p title="${text}">${text}</p>`)
      const [, attribute, content] = /^<p title="([^"]*)">([^<]*)<\/p>$/.exec(page) ?? []
      assert.equal(attribute, content)
      assert.doesNotMatch(String(content), /[<>"']/)
    }),
  )
})

test('pieces are inserted as they are, lists joined, nothing for undefined and false', () => {
  const list = ['a', '<b>'].map((item) => html`<li>${item}</li>`)
  const page = html`<ul>${list}</ul>${undefined}${false}${0}`
  assert.equal(htmlText(page), '<ul><li>a</li><li>&lt;b&gt;</li></ul>0')
})

test('an object from a request cannot pass for markup', () => {
  const forged = JSON.parse('{"markup":"<b>","Symbol(markup)":"<b>"}') as HtmlPart
  assert.doesNotMatch(htmlText(html`${forged}`), /<b>/)
})

test('a form token fits its own cookie alone', () => {
  const [mine, other] = [newSecret(), newSecret()]
  assert.ok(csrfMatches(mine, csrfToken(mine)))
  assert.equal(csrfMatches(other, csrfToken(mine)), false)
  assert.equal(csrfMatches(undefined, csrfToken(mine)), false)
  assert.equal(csrfMatches(mine, undefined), false)
  assert.equal(csrfMatches(mine, [csrfToken(mine)]), false)
  assert.notEqual(csrfToken(mine), mine)
})

test('a return address never leaves this server (SE-02)', () => {
  const piece = fc.constantFrom(
    '/',
    '\\',
    '.',
    '..',
    ':',
    '@',
    '?',
    '#',
    '%2f',
    '%5c',
    '\t',
    'a',
    'evil.example',
    'https',
    ' ',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const path = readReturnTo(pieces.join(''))
      if (path === undefined) return
      assert.equal(new URL(path, 'https://id.example').origin, 'https://id.example')
      assert.match(path, /^\//)
    }),
    { numRuns: 2000 },
  )
  assert.equal(readReturnTo('/consent/int_1?x=%2F#y'), '/consent/int_1?x=%2F#y')
  assert.equal(readReturnTo(['/a', '/b']), undefined)
  assert.equal(readReturnTo(`/${'a'.repeat(13_000)}`), undefined)
})

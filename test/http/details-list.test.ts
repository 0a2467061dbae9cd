import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { detailsList } from '../../src/http/details-list.ts'
import { htmlText } from '../../src/http/html.ts'
import { readAuthorizationDetails } from '../../src/oauth/authorization-details.ts'
import { anyDetail } from '../support/details.ts'

type Entry = Parameters<typeof detailsList>[0][number]
const list = (...entries: Entry[]) => htmlText(detailsList(entries, 'no words'))

test('an entry shows what its type means and each of its members', () => {
  const text = list({
    detail: {
      type: 'payment',
      actions: ['initiate', 'status'],
      locations: ['https://bank.example/'],
      amount: { value: 5, currency: 'EUR' },
      note: 'for the rent',
      note_2: '',
      tags: [],
      urgent: false,
      reference: null,
    },
    description: 'Make a payment',
  })
  for (const words of [
    'payment<br>\n<span class="soft">Make a payment</span>',
    '<dt>Actions</dt>\n<dd>initiate</dd><dd>status</dd>',
    '<dt>Where</dt>\n<dd>https://bank.example/</dd>',
    '<dt><code>amount</code></dt>\n<dd>{&quot;value&quot;:5,&quot;currency&quot;:&quot;EUR&quot;}</dd>',
    '<dt><code>note</code></dt>\n<dd>for the rent</dd>',
    '<dt><code>note_2</code></dt>\n<dd>&quot;&quot;</dd>',
    '<dt><code>tags</code></dt>\n<dd>[]</dd>',
    '<dt><code>urgent</code></dt>\n<dd>false</dd>',
    '<dt><code>reference</code></dt>\n<dd>null</dd>',
  ]) {
    assert.ok(text.includes(words), `${words} is missing in ${text}`)
  }
})

test('an entry without members and without words shows its type', () => {
  const text = list({ detail: { type: 'account' }, description: undefined })
  assert.match(text, /<li>account<br>\s*<span class="soft">no words<\/span>\s*<\/li>/)
  assert.doesNotMatch(text, /<dl>/)
})

test('what is invisible, or turns the text around, is written as its number', () => {
  const [rightToLeft, nothing] = ['\u202e', '\u200b']
  const detail = {
    type: `pay${nothing}ment`,
    [`to${rightToLeft}`]: `a${rightToLeft}b\nc`,
    x: [nothing],
  }
  const text = list({ detail, description: undefined })
  for (const words of [
    'pay\\u{200b}ment',
    'to\\u{202e}',
    'a\\u{202e}b\\u{000a}c',
    '\\u{200b}</dd>',
  ]) {
    assert.ok(text.includes(words), `${words} is missing in ${text}`)
  }
  assert.doesNotMatch(text, /\p{Cf}/u)
})

test('nothing of an entry is left out, and nothing of it is markup', () => {
  const hostile = fc.record({ type: fc.string({ minLength: 1 }), '<i>"': fc.json() })
  fc.assert(
    fc.property(fc.oneof(anyDetail, hostile), (detail) => {
      if (!readAuthorizationDetails([detail])) return
      const text = list({ detail, description: undefined })
      const members = Object.keys(detail).length - 1
      assert.equal(text.match(/<dt>/g)?.length ?? 0, members)
      assert.ok((text.match(/<dd>/g)?.length ?? 0) >= members)
      assert.doesNotMatch(
        text.replace(/<\/?(ul|li|br|dl|dt|dd|code|span)( class="soft")?>/g, ''),
        /[<>]/,
      )
    }),
  )
})

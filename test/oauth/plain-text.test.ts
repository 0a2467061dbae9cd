import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LINE_PATTERN, LINES_PATTERN } from '../../src/oauth/plain-text.ts'

test('text for people is text that can be seen, and reads as it says', () => {
  const line = new RegExp(LINE_PATTERN, 'u')
  const lines = new RegExp(LINES_PATTERN, 'u')
  for (const text of ['a', ' a ', 'Zoë', 'שלום', 'کتاب‌ها', '👩‍💻', '\u200fא', '語']) {
    assert.match(text, line)
    assert.match(`\t${text}\r\n`, lines)
  }
  const turning = ['\u202a', '\u202e', '\u2066', '\u2069', '\u2028', '\u2029']
  for (const char of ['\0', '\x1b', '\x7f', '\x85', ...turning]) {
    assert.doesNotMatch(`a${char}b`, line)
    assert.doesNotMatch(`a${char}b`, lines)
  }
  for (const blank of ['', '  ', '\u200b', '\ufeff \u200d', '\n']) {
    assert.doesNotMatch(blank, line)
    assert.doesNotMatch(blank, lines)
  }
  assert.doesNotMatch('a\nb', line)
})

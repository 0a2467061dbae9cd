import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countDocument } from '../../src/http/document-limit.ts'
import { createTally } from '../../src/http/tally.ts'

const newTally = () =>
  createTally({
    pool: {} as never,
    config: { rateLimits: true },
    now: () => new Date('2026-11-21T12:00:30Z'),
  })

test('a document is fetched thirty times a minute, whoever asks', () => {
  const tally = newTally()
  const ask = (url: string, n: number) => countDocument({ tally }, { url, address: `192.0.2.${n}` })
  for (let n = 0; n < 30; n += 1) assert.equal(ask('https://a.example/c', n), undefined)
  const spent = ask('https://a.example/c', 30)
  assert.deepEqual(spent?.exceeded, { retryAfter: 30, first: true })
  assert.equal(spent?.budget.name, 'document-reads')
  assert.equal(ask('https://a.example/d', 30), undefined)
})

test('an address has a hundred and twenty documents fetched in a minute, whichever', () => {
  const tally = newTally()
  let count = 0
  const ask = (address: string | undefined) => {
    count += 1
    return countDocument({ tally }, { url: `https://a.example/${count}`, address })
  }
  for (let n = 0; n < 120; n += 1) assert.equal(ask(`2001:db8::${n}`), undefined)
  assert.equal(ask('2001:db8::ffff')?.budget.name, 'address-document-reads')
  assert.equal(ask('2001:db8:0:1::1'), undefined)
  for (let n = 0; n < 121; n += 1) assert.equal(ask(undefined), undefined)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isLoopback, isSpecialUse } from '../../src/http/special-use.ts'

/** First and last address of each block of DR-31, and its neighbours that are nobody's secret. */
const V4_BLOCKS: [first: string, last: string][] = [
  ['0.0.0.0', '0.255.255.255'],
  ['10.0.0.0', '10.255.255.255'],
  ['100.64.0.0', '100.127.255.255'],
  ['127.0.0.0', '127.255.255.255'],
  ['169.254.0.0', '169.254.255.255'],
  ['172.16.0.0', '172.31.255.255'],
  ['192.0.0.0', '192.0.0.255'],
  ['192.0.2.0', '192.0.2.255'],
  ['192.88.99.0', '192.88.99.255'],
  ['192.168.0.0', '192.168.255.255'],
  ['198.18.0.0', '198.19.255.255'],
  ['198.51.100.0', '198.51.100.255'],
  ['203.0.113.0', '203.0.113.255'],
  ['224.0.0.0', '239.255.255.255'],
  ['240.0.0.0', '255.255.255.255'],
]

const ordinal = (address: string) =>
  address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
const dotted = (value: number) => [24, 16, 8, 0].map((bits) => (value >>> bits) & 255).join('.')
const isInTable = (value: number) =>
  V4_BLOCKS.some(([first, last]) => ordinal(first) <= value && value <= ordinal(last))

test('knows every IPv4 block of the table from its first to its last address', () => {
  for (const [first, last] of V4_BLOCKS) {
    assert.ok(isSpecialUse(first), first)
    assert.ok(isSpecialUse(last), last)
    for (const beside of [ordinal(first) - 1, ordinal(last) + 1]) {
      if (beside < 0 || beside > 0xffffffff) continue
      assert.equal(isSpecialUse(dotted(beside)), isInTable(beside), dotted(beside))
    }
  }
})

test('judges any IPv4 address by the table, and so its IPv4-mapped and NAT64 forms', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffffffff }), (value) => {
      const expected = isInTable(value)
      const hex = `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`
      for (const form of [
        dotted(value),
        `::ffff:${dotted(value)}`,
        `::FFFF:${hex}`,
        `0:0:0:0:0:ffff:${hex}`,
        `64:ff9b::${dotted(value)}`,
        `0064:ff9b:0:0:0:0:${hex}`,
      ]) {
        assert.equal(isSpecialUse(form), expected, form)
      }
    }),
  )
})

test('refuses every IPv6 address outside global unicast, and the special blocks within', () => {
  for (const address of [
    '::',
    '::1',
    '::8.8.8.8', // IPv4-compatible
    '::ffff:0:8.8.8.8', // SIIT
    '64:ff9b:1::8.8.8.8', // NAT64 for local use
    '100::1',
    '1fff:ffff::1',
    '2001::1', // Teredo
    '2001:2::1',
    '2001:1ff:ffff::1',
    '2001:db8::1',
    '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff',
    '2002:808:808::1', // 6to4 of 8.8.8.8
    '3fff::1',
    '4000::1',
    '5f00::1',
    'fc00::1',
    'fdff:ffff::1',
    'fe80::1',
    'febf:ffff::1',
    'fec0::1',
    'ff02::1',
    'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  ]) {
    assert.ok(isSpecialUse(address), address)
  }
  for (const address of [
    '2000::1',
    '2001:200::1',
    '2001:4860:4860::8888',
    '2606:4700::1',
    '3ffe::',
  ]) {
    assert.equal(isSpecialUse(address), false, address)
  }
})

test('refuses what is no plain address', () => {
  for (const text of [
    '',
    'localhost',
    '8.8.8',
    '2130706433',
    'fe80::1%eth0',
    '2600::1%lo',
    '[::1]',
  ]) {
    assert.ok(isSpecialUse(text), text)
    assert.equal(isLoopback(text), false, text)
  }
})

test('takes for loopback only what never leaves the machine', () => {
  for (const address of [
    '127.0.0.1',
    '127.255.255.255',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:7f00:1',
  ]) {
    assert.ok(isLoopback(address), address)
  }
  for (const address of [
    '0.0.0.0',
    '128.0.0.1',
    '::',
    '::2',
    '64:ff9b::127.0.0.1',
    '::127.0.0.1',
  ]) {
    assert.equal(isLoopback(address), false, address)
  }
})

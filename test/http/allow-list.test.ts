import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAllowList, readAllowRule, ruleCovers } from '../../src/http/allow-list.ts'

const covers = (entry: string, host: string, address: string) =>
  ruleCovers(readAllowRule(entry), host, address)

test('reads a comma-separated setting and skips what is empty', () => {
  assert.deepEqual(parseAllowList(''), [])
  assert.deepEqual(parseAllowList(' 10.0.0.0/8 , crm.corp.example:8443,,[fd00::/8]:8443 '), [
    '10.0.0.0/8',
    'crm.corp.example:8443',
    '[fd00::/8]:8443',
  ])
})

test('names a bad entry and says what it should be', () => {
  for (const entry of [
    'https://crm.corp.example',
    'crm.corp.example/path',
    'crm.corp.example:https',
    'crm.corp.example:',
    'crm.corp.example:0',
    'crm.corp.example:65536',
    'user@crm.corp.example',
    '*.corp.example',
    '.corp.example',
    'crm..example',
    'crm corp',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0',
    '0x7f.1',
    '2130706433',
    '999.0.0.1',
    '::/129',
    'fe80::1%eth0',
    '[fd00::1',
    '[crm.corp.example]:443',
    '[10.0.0.1]:443',
    'fd00::/8:8443',
    ':8443',
    '/8',
  ]) {
    assert.throws(
      () => parseAllowList(`10.0.0.0/8,${entry}`),
      (error: Error) => error.message.includes(JSON.stringify(entry)) && /CIDR/.test(error.message),
      entry,
    )
  }
})

test('an entry without a port means port 443', () => {
  for (const entry of ['10.0.0.0/8', '10.0.0.1', 'fd00::/8', '[fd00::1]', 'crm.corp.example']) {
    assert.equal(readAllowRule(entry).port, 443, entry)
  }
  for (const entry of ['10.0.0.0/8:8443', '[fd00::/8]:8443', 'crm.corp.example:8443']) {
    assert.equal(readAllowRule(entry).port, 8443, entry)
  }
})

test('a block covers its addresses under any name and in any form', () => {
  assert.ok(covers('10.1.0.0/16', 'any.example', '10.1.255.255'))
  assert.ok(covers('10.1.0.0/16', 'any.example', '::ffff:10.1.2.3'))
  assert.ok(covers('10.1.2.3', 'any.example', '10.1.2.3'))
  assert.ok(covers('fd00::/8', 'any.example', 'fd12::1'))
  assert.ok(covers('0.0.0.0/0', 'any.example', '10.0.0.1'))
  assert.equal(covers('10.1.0.0/16', 'any.example', '10.2.0.0'), false)
  assert.equal(covers('10.1.2.3', 'any.example', '10.1.2.4'), false)
  assert.equal(covers('::/0', 'any.example', '10.1.2.3'), false)
  assert.equal(covers('0.0.0.0/0', 'any.example', 'fd00::1'), false)
  assert.equal(covers('::/0', 'any.example', 'fe80::1%eth0'), false)
})

test('a host covers itself alone, at any address', () => {
  assert.ok(covers('CRM.corp.example.', 'crm.corp.example', '10.0.0.1'))
  assert.ok(covers('my_crm', 'my_crm', 'fd00::1'))
  assert.equal(covers('corp.example', 'crm.corp.example', '10.0.0.1'), false)
  assert.equal(covers('crm.corp.example', 'crm.corp.example.attacker.example', '10.0.0.1'), false)
})

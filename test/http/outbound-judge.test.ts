// What an administrator is told of an address at once: what a request to it would be refused with.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readAllowRule } from '../../src/http/allow-list.ts'
import { refuseUrl } from '../../src/http/destination.ts'
import { createOutbound } from '../../src/http/outbound.ts'
import { namesOf } from '../support/listeners.ts'

const ALLOW = ['10.1.0.0/16', '[fd00::/8]:8443', 'crm.corp.example:8443']
const RULES = { allow: ALLOW.map(readAllowRule), allowLoopbackHttp: false }

const JUDGED: [url: string, refusal: ReturnType<typeof refuseUrl>][] = [
  ['https://app.example/', undefined],
  ['https://app.example:443/', undefined],
  ['https://8.8.8.8/', undefined],
  ['https://10.1.2.3/', undefined],
  ['https://[::ffff:10.1.2.3]/', undefined],
  ['https://crm.corp.example:8443/', undefined],
  ['https://CRM.corp.example.:8443/', undefined],
  ['https://[fd12::1]:8443/', undefined],
  // Some address of it may be in fd00::/8, which only a look-up can tell.
  ['https://other.corp.example:8443/', undefined],
  ['not a URL', 'invalid_url'],
  ['https://app.example\\@evil.example/', 'invalid_url'],
  ['https://user:secret@app.example/', 'userinfo_not_allowed'],
  ['http://app.example/', 'scheme_not_allowed'],
  ['ftp://app.example/', 'scheme_not_allowed'],
  ['https://app.example:9443/', 'port_not_allowed'],
  ['https://8.8.8.8:8443/', 'port_not_allowed'],
  ['https://10.2.0.1/', 'address_not_allowed'],
  ['https://10.1.2.3:8443/', 'address_not_allowed'],
  ['https://[fd12::1]/', 'address_not_allowed'],
  ['https://169.254.169.254/', 'address_not_allowed'],
  ['https://0x7f.1/', 'address_not_allowed'],
  ['https://localhost/', 'address_not_allowed'],
  ['https://[64:ff9b::a9fe:a9fe]/', 'address_not_allowed'],
]

for (const [url, refusal] of JUDGED) {
  test(`judges ${url}: ${refusal ?? 'nothing is wrong with it'} (DR-30, DR-31)`, () => {
    assert.equal(refuseUrl(url, RULES), refusal)
  })
}

test('says what the request would be refused with, and asks no name server (DR-36)', async () => {
  const { asked, lookup } = namesOf()
  const outbound = createOutbound({ allow: ALLOW, allowLoopbackHttp: false, lookup })
  for (const [url, refusal] of JUDGED) {
    const words = outbound.judge(url)
    assert.equal(words === undefined, refusal === undefined, url)
    if (words === undefined) continue
    await assert.rejects(outbound.getJson(url, { maxBytes: 10 }), { message: words }, url)
  }
  assert.deepEqual(asked, [])
})

test('names with a port that is listed for another host alone are not looked up (DR-30)', async () => {
  const { asked, lookup } = namesOf({ 'other.example': ['10.1.2.3'] })
  const allow = ['crm.corp.example:9443']
  const outbound = createOutbound({ allow, allowLoopbackHttp: false, lookup })
  const url = 'https://other.example:9443/'
  assert.match(outbound.judge(url) ?? '', /the port is neither 443/)
  await assert.rejects(outbound.getJson(url, { maxBytes: 10 }), { reason: 'port_not_allowed' })
  assert.deepEqual(asked, [])
})

test('in development a name that only a hosts file can lead anywhere is registered, and judged when it is called (DR-35)', async () => {
  const { asked, lookup } = namesOf({ 'rp.test': ['10.1.2.3'] })
  const outbound = createOutbound({ allow: [], allowLoopbackHttp: true, lookup })
  for (const url of ['http://rp.test:4001/', 'https://RP.test.:8443/', 'http://rp.localhost/']) {
    assert.equal(outbound.judge(url), undefined, url)
  }
  const call = outbound.getJson('https://rp.test:8443/', { maxBytes: 10 })
  await assert.rejects(call, { reason: 'address_not_allowed' })
  assert.deepEqual(asked, ['rp.test'])
  const rules = { allow: [], allowLoopbackHttp: true }
  for (const name of ['rptest.example', 'rp.contest', 'test.example', 'rp.test.example']) {
    assert.equal(refuseUrl(`http://${name}/`, rules), 'scheme_not_allowed', name)
  }
  assert.equal(refuseUrl('http://rp.test/', RULES), 'scheme_not_allowed')
})

test('in development http and any port are registered for loopback alone (DR-35)', () => {
  const rules = { allow: [], allowLoopbackHttp: true }
  for (const url of ['http://localhost:4001/', 'http://127.0.0.1/', 'http://[::1]:9/']) {
    assert.equal(refuseUrl(url, rules), undefined, url)
  }
  assert.equal(refuseUrl('https://app.localhost:8443/', rules), undefined)
  assert.equal(refuseUrl('https://app.example/', rules), undefined)
  assert.equal(refuseUrl('http://app.example/', rules), 'scheme_not_allowed')
  assert.equal(refuseUrl('https://app.example:8443/', rules), 'port_not_allowed')
  assert.equal(refuseUrl('http://localhost.app.example/', rules), 'scheme_not_allowed')
  const listed = { ...rules, allow: ['app.example:8443'].map(readAllowRule) }
  assert.equal(refuseUrl('https://app.example:8443/', listed), undefined)
  assert.equal(refuseUrl('http://app.example:8443/', listed), 'scheme_not_allowed')
  assert.equal(refuseUrl('http://8.8.8.8/', rules), 'scheme_not_allowed')
  assert.equal(refuseUrl('https://8.8.8.8:4001/', rules), 'port_not_allowed')
  assert.equal(refuseUrl('https://10.0.0.1/', rules), 'address_not_allowed')
  assert.equal(refuseUrl('ftp://localhost/', rules), 'scheme_not_allowed')
  assert.equal(refuseUrl('http://user@localhost/', rules), 'userinfo_not_allowed')
})

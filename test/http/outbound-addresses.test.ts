// Every way to write an address that nobody may call, tried against the guarded way out: nothing leaves (DR-31).
import assert from 'node:assert/strict'
import dns from 'node:dns'
import dnsPromises from 'node:dns/promises'
import net from 'node:net'
import { networkInterfaces } from 'node:os'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { readAllowRule } from '../../src/http/allow-list.ts'
import { refuseAddresses, refuseUrl } from '../../src/http/destination.ts'
import { createOutbound, type OutboundReason } from '../../src/http/outbound.ts'
import { isSpecialV4, isSpecialV6, v4Text, v4Value, v6Text, v6Value } from '../support/addresses.ts'
import { listen, namesOf, refused } from '../support/listeners.ts'

/**
 * A server at every address of this machine, and a way out that may use its port on public addresses: whatever
 * is called here and let through would be counted. Nobody asks a name server, neither we nor Node.js.
 */
async function openFortress(t: TestContext, names: Record<string, string[]> = {}) {
  const server = await listen(t, net.createServer(), { host: '::', ipv6Only: false })
  const { asked, lookup } = namesOf(names)
  const resolver = [t.mock.method(dns, 'lookup'), t.mock.method(dnsPromises, 'lookup')]
  const allow = [`8.0.0.0/8:${server.port}`, `[2606::/16]:${server.port}`]
  const outbound = createOutbound({ allow, allowLoopbackHttp: false, lookup })
  return {
    port: server.port,
    get: (url: string) => outbound.getJson(url, { maxBytes: 100 }),
    assertNothingLeft(expected: string[] = []) {
      assert.equal(server.connections, 0)
      assert.deepEqual(asked, expected)
      for (const { mock } of resolver) assert.equal(mock.callCount(), 0)
    },
  }
}

test('the fortress counts: what is let through would be seen', async (t) => {
  const server = await listen(
    t,
    net.createServer((socket) => socket.destroy()),
    { host: '::', ipv6Only: false },
  )
  for (const host of ['127.0.0.1', '127.1.2.3', '[::1]', '0.0.0.0', '[::ffff:127.0.0.1]']) {
    const before = server.connections
    const outbound = createOutbound({ allow: [`${host}:${server.port}`], allowLoopbackHttp: false })
    const url = `https://${host}:${server.port}/`
    await refused(outbound.getJson(url, { maxBytes: 10 }), 'connect_failed', host)
    assert.equal(server.connections, before + 1, host)
  }
})

const WRITTEN: Record<string, string[]> = {
  'a number in decimal': ['2130706433', '167772161', '2852039166', '4294967295', '0', '3232235521'],
  'a number in octal': ['017700000001', '0177.0.0.01', '00000000177.1', '025177524776'],
  'a number in hexadecimal': ['0x7f000001', '0X7F.0x0.0X0.0x1', '0xa9fea9fe', '0x0', '0x', '0x.0x'],
  'a short form': [
    '127.1',
    '127.0.1',
    '10.1',
    '10.258',
    '192.168.1',
    '169.254.43518',
    '0.0',
    '256',
  ],
  'bases in a mix': ['0x7f.0.0.01', '0251.0xfe.43518', '169.0376.0xa9fe', '0xC0.0250.1'],
  'percent-encoded': ['127%2e0%2E0%2e1', '%31%32%37.0.0.1', '%30x7f.1', 'loc%61lhost'],
  'with a dot at the end': ['127.0.0.1.', '2130706433.', '0x7f.1.', '10.0.0.1.', 'localhost.'],
  loopback: ['127.0.0.1', '127.0.0.2', '127.255.255.255', '[::1]', '[0:0:0:0:0:0:0:1]', '[::0001]'],
  'localhost, which is never looked up': [
    'localhost',
    'LocalHost',
    'a.localhost',
    'a.b.LOCALHOST.',
  ],
  'IPv4-mapped': ['[::ffff:127.0.0.1]', '[::FFFF:7F00:1]', '[0:0:0:0:0:ffff:10.0.0.1]'],
  'IPv4-mapped, metadata': ['[::ffff:169.254.169.254]', '[::ffff:a9fe:a9fe]', '[::ffff:0:0]'],
  'IPv4-translated': ['[::ffff:0:127.0.0.1]', '[::ffff:0:a00:1]', '[::ffff:0:8.8.8.8]'],
  'IPv4-compatible': ['[::127.0.0.1]', '[::7f00:1]', '[::169.254.169.254]', '[::8.8.8.8]'],
  NAT64: ['[64:ff9b::127.0.0.1]', '[64:ff9b::a00:1]', '[0064:FF9B::A9FE:A9FE]'],
  'NAT64 for local use': ['[64:ff9b:1::7f00:1]', '[64:ff9b:1:ffff::8.8.8.8]'],
  '6to4, whatever it carries': ['[2002:7f00:1::]', '[2002:a00:1::1]', '[2002:808:808::1]'],
  'Teredo, whatever it carries': ['[2001::1]', '[2001:0:4136:e378:8000:63bf:80ff:fffe]'],
  private: ['10.0.0.1', '10.255.255.255', '172.16.0.1', '172.31.255.255', '192.168.0.1'],
  'unique-local': ['[fc00::1]', '[fd00::1]', '[fdff:ffff:ffff::1]', '[fd00:ec2::254]'],
  'link-local': ['169.254.0.1', '169.254.169.254', '169.254.170.2', '[fe80::1]', '[febf::1]'],
  'site-local, as it was': ['[fec0::1]', '[feff::1]'],
  multicast: ['224.0.0.1', '239.255.255.250', '[ff02::1]', '[ff05::2]', '[ffff::1]'],
  unspecified: ['0.0.0.0', '0.1.2.3', '[::]', '[0::0]', '[0:0:0:0:0:0:0.0.0.0]'],
  documentation: ['192.0.2.1', '198.51.100.1', '203.0.113.1', '[2001:db8::1]', '[3fff::1]'],
  "a carrier's own": ['100.64.0.1', '100.100.100.200', '100.127.255.255'],
  'protocol assignments': [
    '192.0.0.1',
    '192.0.0.192',
    '192.88.99.1',
    '[2001:1::1]',
    '[2001:20::1]',
  ],
  benchmarks: ['198.18.0.1', '198.19.255.255', '[2001:2::1]'],
  reserved: ['240.0.0.1', '255.255.255.254', '[4000::1]', '[8000::1]', '[5f00::1]', '[100::1]'],
  broadcast: ['255.255.255.255', '0xffffffff', '[::ffff:255.255.255.255]'],
}

for (const [how, hosts] of Object.entries(WRITTEN)) {
  test(`nothing leaves for an address that is ${how} (DR-31, TV-100)`, async (t) => {
    const { get, port, assertNothingLeft } = await openFortress(t)
    for (const host of hosts) {
      await refused(get(`https://${host}/`), 'address_not_allowed', host)
      await refused(get(`https://${host}:443/a?b#c`), 'address_not_allowed', host)
      await refused(get(`HTTPS://${host}:${port}/`), 'address_not_allowed', host)
    }
    assertNothingLeft()
  })
}

test('nothing leaves for any other address of this machine (DR-31)', async (t) => {
  const { get, port, assertNothingLeft } = await openFortress(t)
  for (const { address, family } of Object.values(networkInterfaces()).flatMap(
    (all) => all ?? [],
  )) {
    const host = family === 'IPv6' ? `[${address}]` : address
    const refusal = refuseUrl(`https://${host}/`, { allow: [], allowLoopbackHttp: false })
    if (refusal === undefined) continue // a public address of its own
    await refused(get(`https://${host}:${port}/`), 'address_not_allowed', host)
  }
  assertNothingLeft()
})

const BROKEN: Record<string, string[]> = {
  'a zone': ['https://[fe80::1%eth0]/', 'https://[fe80::1%25eth0]/', 'https://[::1%lo]/'],
  'two dots': [
    'https://127.0.0.1../',
    'https://a..b.example/',
    'https://localhost../',
    'https://../',
  ],
  'digits and dots of other scripts': [
    'https://１２７.０.０.１/',
    'https://127。0。0。1/',
    'https://127．0．0．1/',
    'https://127｡0｡0｡1/',
    'https://①②⑦.0.0.1/',
    'https://ⓛocalhost/',
    'https://loc\u00adalhost/',
    'https://lo\u200bcalhost/',
    'https://bücher.example/',
  ],
  backslashes: [
    'https:\\\\127.0.0.1/',
    'https://public.example\\@127.0.0.1/',
    'https://127.0.0.1\\.public.example/',
    'https://public.example\\.127.0.0.1/',
  ],
  'white space': [
    'https://127.0.0.1\t/',
    'https://127.0.\n0.1/',
    'ht\ttps://127.0.0.1/',
    ' https://127.0.0.1/',
    'https://127.0.0.1/ ',
    'https://127.0.0.1/\r\nHost: public.example',
    'https://127.0.0.1/\0',
    'https://public.example/\u00a0',
  ],
  'slashes too many or too few': [
    'https:127.0.0.1',
    'https:/127.0.0.1/',
    'https:///127.0.0.1/',
    'https:',
    '//h/',
  ],
  'a number that is none': [
    'https://256.0.0.1/',
    'https://4294967296/',
    'https://1.2.3.4.5/',
    'https://08.0.0.1/',
    'https://0o177.0.0.1/',
    'https://a.0x7f/',
    'https://127.0.0.1x.1/',
    'https://[::127.0.0.1.]/',
    'https://[127.0.0.1]/',
    'https://[%3A%3A1]/',
    'https://[::1/',
    'https://::1/',
    'https://[1::2::3]/',
    'https://[v1.a]/',
  ],
  'a host that is no name': [
    'https://a%00b.example/',
    'https://127.0.0.1%2f.example/',
    'https://user%40127.0.0.1/',
    'https://a%20b.example/',
    'https://*.example/',
    "https://a'b.example/",
    'https://a!b.example/',
    'https://a$(b).example/',
    'https://a,b.example/',
    'https://a;b.example/',
    'https://{a}.example/',
    `https://${'a'.repeat(64)}.example/`,
    `https://${'a.'.repeat(126)}example/`,
  ],
  'a port that is none': [
    'https://public.example:0/',
    'https://public.example:65536/',
    'https://public.example:443a/',
    'https://public.example:-1/',
    'https://public.example:443:443/',
  ],
}

for (const [what, urls] of Object.entries(BROKEN)) {
  test(`nothing leaves for a URL with ${what} (DR-30)`, async (t) => {
    const { get, assertNothingLeft } = await openFortress(t)
    for (const url of urls) await refused(get(url), 'invalid_url', url)
    assertNothingLeft()
  })
}

const FORBIDDEN: [reason: OutboundReason, urls: string[]][] = [
  [
    'userinfo_not_allowed',
    [
      'https://public.example@127.0.0.1/',
      'https://public.example:443@127.0.0.1/',
      'https://127.0.0.1@public.example/',
      'https://@127.0.0.1/',
      'https://:@127.0.0.1/',
      'https://a@b@127.0.0.1/',
      'https://%40@127.0.0.1/',
    ],
  ],
  [
    'scheme_not_allowed',
    [
      'http://public.example/',
      'http://public.example:443/',
      'HTTP://8.8.8.8/',
      'ws://public.example/',
      'wss://public.example/',
      'ftp://public.example/',
      'gopher://127.0.0.1:6379/_INFO',
      'file:///etc/passwd',
      'file://127.0.0.1/etc/passwd',
      'data:application/json,{}',
      'blob:https://public.example/1',
      'javascript:1',
      'unix:/run/postgresql/.s.PGSQL.5432',
      'http+unix://%2Frun%2Fdocker.sock/',
      'node:fs',
      'about:blank',
    ],
  ],
  [
    'port_not_allowed',
    [
      'https://public.example:80/',
      'https://public.example:8443/',
      'https://public.example:22/',
      'https://public.example:44300/',
      'https://8.8.8.8:8443/',
      'https://[2606:4700::1]:1/',
    ],
  ],
]

for (const [reason, urls] of FORBIDDEN) {
  test(`nothing leaves for what is refused as ${reason} (DR-30)`, async (t) => {
    const { get, assertNothingLeft } = await openFortress(t)
    for (const url of urls) await refused(get(url), reason, url)
    assertNothingLeft()
  })
}

const NAMES: Record<string, string[]> = {
  'loopback.example': ['127.0.0.1'],
  'private.example': ['10.0.0.1'],
  'metadata.example': ['169.254.169.254'],
  'mapped.example': ['::ffff:10.0.0.1'],
  'mapped-in-hex.example': ['::ffff:7f00:1'],
  'nat64.example': ['64:ff9b::a9fe:a9fe'],
  'local-nat64.example': ['64:ff9b:1::808:808'],
  'six-to-four.example': ['2002:808:808::1'],
  'teredo.example': ['2001::1'],
  'compatible.example': ['::8.8.8.8'],
  'unspecified.example': ['0.0.0.0'],
  'unspecified-too.example': ['::'],
  'zone.example': ['fe80::1%eth0'],
  'zone-of-public.example': ['2606:4700::1%eth0'],
  'public-then-private.example': ['8.8.8.8', '10.0.0.1'],
  'private-then-public.example': ['10.0.0.1', '8.8.8.8'],
  'public-then-loopback.example': ['2606:4700::1', '::1'],
  'last-of-many.example': [...Array.from({ length: 99 }, (_, index) => `8.8.4.${index}`), '::1'],
}

for (const [name, addresses] of Object.entries(NAMES)) {
  test(`nothing leaves for ${name}: one address that may not be called is enough (DR-31)`, async (t) => {
    const { get, port, assertNothingLeft } = await openFortress(t, NAMES)
    for (const url of [`https://${name}/`, `https://${name.toUpperCase()}.:${port}/`]) {
      await refused(get(url), 'address_not_allowed', `${addresses}`)
    }
    assertNothingLeft([name, name])
  })
}

for (const answer of [
  [],
  ['localhost'],
  ['2130706433'],
  ['[::1]'],
  ['8.8.8.8', ''],
  ['8.8.8.8 '],
]) {
  test(`a look-up that finds ${JSON.stringify(answer)} found nothing (DR-31)`, async (t) => {
    const { get, assertNothingLeft } = await openFortress(t, { 'odd.example': answer })
    await refused(get('https://odd.example/'), 'resolution_failed')
    assertNothingLeft(['odd.example'])
  })
}

const RULES = { allow: [], allowLoopbackHttp: false }

test('an IPv4 address is refused exactly when it is special-use, however it is written (DR-31)', () => {
  fc.assert(
    fc.property(
      v4Value.chain((value) => fc.tuple(fc.constant(value), v4Text(value))),
      ([value, text]) => {
        const expected = isSpecialV4(value) ? 'address_not_allowed' : undefined
        assert.equal(refuseUrl(`https://${text}/`, RULES), expected, text)
      },
    ),
    { numRuns: 3_000 },
  )
})

test('an IPv6 address is refused exactly when it is special-use, however it is written (DR-31)', () => {
  const to = { scheme: 'https:', host: 'any.example', port: 443, path: '/' } as const
  fc.assert(
    fc.property(
      v6Value.chain((value) => fc.tuple(fc.constant(value), v6Text(value))),
      ([value, text]) => {
        const expected = isSpecialV6(value) ? 'address_not_allowed' : undefined
        assert.equal(refuseUrl(`https://[${text}]/`, RULES), expected, text)
        assert.equal(refuseAddresses(to, [text], RULES), expected, text)
        assert.equal(refuseAddresses(to, ['8.8.8.8', text], RULES), expected, text)
      },
    ),
    { numRuns: 3_000 },
  )
})

test('what the properties call special-use does not leave in a request either (DR-31)', async (t) => {
  const { get, port, assertNothingLeft } = await openFortress(t)
  const v4 = v4Value.filter(isSpecialV4).chain(v4Text)
  const v6 = v6Value.filter(isSpecialV6).chain((value) => v6Text(value).map((text) => `[${text}]`))
  await fc.assert(
    fc.asyncProperty(fc.oneof(v4, v6), async (host) => {
      await refused(get(`https://${host}:${port}/`), 'address_not_allowed', host)
    }),
    { numRuns: 300 },
  )
  assertNothingLeft()
})

test('no entry lets an address through that it does not name (DR-30, DR-31)', () => {
  const block = fc.tuple(v4Value, fc.integer({ min: 1, max: 32 })).map(([value, prefix]) => ({
    net: (value >> BigInt(32 - prefix)) << BigInt(32 - prefix),
    prefix,
  }))
  fc.assert(
    fc.property(block, v4Value, ({ net, prefix }, value) => {
      const named = value >> BigInt(32 - prefix) === net >> BigInt(32 - prefix)
      const text = [24n, 16n, 8n, 0n].map((bits) => (net >> bits) & 255n).join('.')
      const rules = { ...RULES, allow: [readAllowRule(`${text}/${prefix}`)] }
      const refusal = refuseUrl(`https://${value}/`, rules)
      if (!named) assert.equal(refusal !== undefined, isSpecialV4(value))
    }),
  )
})

// OUTBOUND_ALLOW: an entry lets exactly that through, and nothing beside it (DR-30, DR-31).
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { loadConfig } from '../../src/config.ts'
import { parseAllowList } from '../../src/http/allow-list.ts'
import { createLogger } from '../../src/http/logging.ts'
import { createOutbound, type OutboundReason } from '../../src/http/outbound.ts'
import { startServer } from '../../src/start.ts'
import { dotted, isSpecialV4, v4Value } from '../support/addresses.ts'
import { listen, namesOf, refused } from '../support/listeners.ts'

/** A server that hangs up on whoever comes, at every address of this machine. */
const openDoor = (t: TestContext, port = 0) =>
  listen(
    t,
    net.createServer((socket) => socket.destroy()),
    { host: '::', port, ipv6Only: false },
  )

const NAMES = {
  'crm.corp.example': ['127.0.0.1'],
  'sub.crm.corp.example': ['127.0.0.1'],
  'crm.corp.example.evil.example': ['127.0.0.1'],
  'corp.example': ['127.0.0.1'],
  'xcrm.corp.example': ['127.0.0.1'],
  'both.example': ['127.0.0.1', '127.0.0.2'],
  'six.example': ['::1'],
}

type Tried = {
  /** `$` stands for the port of the door, `&` for that of another one. */
  allow: string
  through: string[]
  not: [url: string, reason: OutboundReason][]
}

const TRIED: Tried[] = [
  {
    allow: '127.0.0.1:$',
    through: ['127.0.0.1:$', '0x7f.1:$', '[::ffff:127.0.0.1]:$', 'crm.corp.example:$'],
    not: [
      ['127.0.0.2:$', 'address_not_allowed'],
      ['127.0.0.1', 'address_not_allowed'],
      ['127.0.0.1:&', 'port_not_allowed'],
      ['[::1]:$', 'address_not_allowed'],
      ['[64:ff9b:1::7f00:1]:$', 'address_not_allowed'],
      ['[::7f00:1]:$', 'address_not_allowed'],
      ['both.example:$', 'address_not_allowed'],
      ['six.example:$', 'address_not_allowed'],
    ],
  },
  {
    allow: '127.0.0.0/31:$',
    through: ['127.0.0.1:$', '127.0.0.0:$'],
    not: [
      ['127.0.0.2:$', 'address_not_allowed'],
      ['both.example:$', 'address_not_allowed'],
      ['127.0.0.1:&', 'port_not_allowed'],
    ],
  },
  {
    allow: '127.0.0.0/8',
    through: [],
    not: [
      ['127.0.0.1:$', 'port_not_allowed'],
      ['crm.corp.example:$', 'port_not_allowed'],
      ['[::1]', 'address_not_allowed'],
      ['10.0.0.1', 'address_not_allowed'],
    ],
  },
  {
    allow: 'crm.corp.example:$',
    through: ['crm.corp.example:$', 'CRM.Corp.example.:$'],
    not: [
      ['sub.crm.corp.example:$', 'port_not_allowed'],
      ['crm.corp.example.evil.example:$', 'port_not_allowed'],
      ['corp.example:$', 'port_not_allowed'],
      ['xcrm.corp.example:$', 'port_not_allowed'],
      ['both.example:$', 'port_not_allowed'],
      ['127.0.0.1:$', 'port_not_allowed'],
      ['crm.corp.example:&', 'port_not_allowed'],
      ['crm.corp.example', 'address_not_allowed'],
    ],
  },
  {
    allow: 'crm.corp.example',
    through: [],
    not: [
      ['crm.corp.example:$', 'port_not_allowed'],
      ['127.0.0.1', 'address_not_allowed'],
      ['xcrm.corp.example', 'address_not_allowed'],
      ['both.example', 'address_not_allowed'],
    ],
  },
  {
    allow: '[::1]:$',
    through: ['[::1]:$', '[0:0:0:0:0:0:0:1]:$', 'six.example:$'],
    not: [
      ['127.0.0.1:$', 'address_not_allowed'],
      ['[::2]:$', 'address_not_allowed'],
      ['[::1]', 'address_not_allowed'],
      ['[::1]:&', 'port_not_allowed'],
    ],
  },
  {
    allow: 'localhost:$',
    through: ['localhost:$', 'LOCALHOST.:$'],
    not: [
      ['127.0.0.1:$', 'port_not_allowed'],
      ['a.localhost:$', 'port_not_allowed'],
    ],
  },
  {
    allow: '[::ffff:127.0.0.0/126]:$',
    through: ['127.0.0.3:$', '[::ffff:7f00:1]:$'],
    not: [
      ['127.0.0.4:$', 'address_not_allowed'],
      ['[::1]:$', 'address_not_allowed'],
    ],
  },
  {
    allow: '[::/0]:$',
    through: ['[::1]:$'],
    not: [
      ['127.0.0.1:$', 'address_not_allowed'],
      ['[::ffff:127.0.0.1]:$', 'address_not_allowed'],
      ['[64:ff9b::127.0.0.1]:$', 'address_not_allowed'],
    ],
  },
]

for (const { allow, through, not } of TRIED) {
  test(`OUTBOUND_ALLOW=${allow.replace('$', 'port')} lets through what it names, and nothing else`, async (t) => {
    const door = await openDoor(t)
    const other = await openDoor(t)
    const written = (text: string) =>
      text.replace('$', `${door.port}`).replace('&', `${other.port}`)
    const { lookup } = namesOf(NAMES)
    const outbound = createOutbound({
      allow: parseAllowList(written(allow)),
      allowLoopbackHttp: false,
      lookup,
    })
    const get = (host: string, scheme = 'https') =>
      outbound.getJson(`${scheme}://${written(host)}/`, { maxBytes: 10 })
    for (const host of through) {
      const before = door.connections
      await refused(get(host), 'connect_failed', host)
      assert.ok(door.connections > before, host)
    }
    const before = door.connections
    for (const [host, reason] of not) await refused(get(host), reason, host)
    for (const host of through) await refused(get(host, 'http'), 'scheme_not_allowed', host)
    assert.equal(door.connections, before)
    assert.equal(other.connections, 0)
  })
}

test('a host whose name leads elsewhere now: wherever it leads, but not to metadata or link-local', async (t) => {
  const door = await openDoor(t)
  const names: Record<string, string[]> = { 'crm.corp.example': ['127.0.0.1'] }
  const { lookup } = namesOf(names)
  const allow = [`crm.corp.example:${door.port}`]
  const { getJson } = createOutbound({ allow, allowLoopbackHttp: false, lookup })
  const get = () => getJson(`https://crm.corp.example:${door.port}/`, { maxBytes: 10 })
  await refused(get(), 'connect_failed')
  names['crm.corp.example'] = ['127.0.0.2']
  await refused(get(), 'connect_failed')
  assert.equal(door.connections, 2)
  for (const elsewhere of [
    ['169.254.169.254'],
    ['::ffff:169.254.169.254'],
    ['64:ff9b::a9fe:a9fe'],
    ['127.0.0.1', '169.254.1.1'],
    ['fd00:ec2::254'],
    ['100.100.100.200'],
    ['fe80::1'],
    ['fe80::1%eth0'],
    ['0.0.0.0'],
    ['::'],
    ['224.0.0.1'],
    ['255.255.255.255'],
    ['ff02::1'],
  ]) {
    names['crm.corp.example'] = elsewhere
    await refused(get(), 'address_not_allowed', `${elsewhere}`)
  }
  assert.equal(door.connections, 2)
})

test('a metadata service needs an entry of its own: no block around it will do', () => {
  const metadata = [
    '169.254.169.254',
    '[::ffff:a9fe:a9fe]',
    '[64:ff9b::169.254.169.254]',
    '2852039166',
  ]
  const judge = (allow: string, host: string) =>
    createOutbound({ allow: parseAllowList(allow), allowLoopbackHttp: false }).judge(
      `https://${host}/`,
    )
  for (const host of metadata) {
    for (const allow of [
      '0.0.0.0/0,::/0',
      '169.254.0.0/16',
      '169.254.169.0/24',
      '169.254.169.254/31',
      '::ffff:0:0/96',
      '64:ff9b::/96',
      '169.254.169.253',
      '169.254.169.254:8443',
    ]) {
      assert.match(judge(allow, host) ?? 'let through', /no address that may be called/, allow)
    }
    for (const allow of ['169.254.169.254', '169.254.169.254/32', '[::ffff:169.254.169.254]']) {
      assert.equal(judge(allow, host), undefined, allow)
    }
  }
  for (const host of ['[fd00:ec2::254]', '100.100.100.200', '192.0.0.192', '[fd20:ce::254]']) {
    assert.match(judge('fc00::/7,100.64.0.0/10,192.0.0.0/24', host) ?? '', /no address/, host)
    assert.equal(judge(host, host), undefined)
  }
  assert.equal(judge('fc00::/7', '[fd01::1]'), undefined)
  assert.equal(judge('100.64.0.0/10', '100.64.0.1'), undefined)
})

test('a block lets its own addresses through, whoever has them, and no other special-use one', () => {
  const block = fc.tuple(v4Value, fc.integer({ min: 8, max: 31 })).map(([value, length]) => {
    const rest = BigInt(32 - length)
    return { first: (value >> rest) << rest, last: (((value >> rest) + 1n) << rest) - 1n, length }
  })
  const ownEntry = (value: bigint) => /^(0|169\.254|22[4-9]|2[345]\d)\./.test(dotted(value))
  fc.assert(
    fc.property(block, v4Value, fc.bigInt({ min: 0n, max: 1n << 24n }), (of, any, offset) => {
      const { first, last, length } = of
      const allow = parseAllowList(`${dotted(first)}/${length}`)
      const outbound = createOutbound({ allow, allowLoopbackHttp: false })
      for (const value of [any, first, last, first + (offset % (last - first + 1n))]) {
        const isNamed = first <= value && value <= last && !ownEntry(value)
        const mayGo = outbound.judge(`https://${dotted(value)}/`) === undefined
        if (dotted(value) === '100.100.100.200' || dotted(value) === '192.0.0.192') continue
        assert.equal(mayGo, isNamed || !isSpecialV4(value), `${dotted(first)}/${length} ${value}`)
      }
    }),
  )
})

const SETTINGS = {
  ISSUER: 'https://id.example',
  DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
  ADMIN_API_KEY: 'a'.repeat(32),
  KEY_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
}

for (const entry of [
  '10.0.0.0/33',
  '10.1.2.3/8',
  '[fd00::1/8]:8443',
  '10.1.0.0-16',
  '10.1.0.0-10.1.255.255',
  '10.1.0.*',
  'https://crm.corp.example',
  'crm.corp.example:https',
  '*.corp.example',
  'fd00::/8:8443',
  'fe80::1%eth0',
  '10.0.0.0/8;10.1.0.0/16',
  '10.0.0.0/8 10.1.0.0/16',
]) {
  test(`the server does not start with ${entry}, and says why`, async () => {
    const config = loadConfig({ ...SETTINGS, OUTBOUND_ALLOW: `crm.corp.example,${entry}` })
    const log = createLogger(config, { write: () => {} })
    await assert.rejects(startServer(config, log), ({ name, message }: Error) => {
      assert.equal(name, 'ConfigError')
      assert.ok(message.startsWith(`OUTBOUND_ALLOW: ${JSON.stringify(entry)} is not`), message)
      return true
    })
  })
}

test('every OUTBOUND_ALLOW in the documents can be read, and does what they say of it', () => {
  const root = join(import.meta.dirname, '../..')
  const text = readFileSync(join(root, 'docs/operators.md'), 'utf8')
  const settings = [...text.matchAll(/^OUTBOUND_ALLOW=(\S+)/gm)].map(([, setting = '']) => setting)
  assert.ok(settings.length > 0)
  for (const setting of settings) assert.ok(parseAllowList(setting).length > 0, setting)

  const rows = [...text.matchAll(/^\| `([^`]+)` \| `(https:[^`]+)` \| (`[^|]+`) \|/gm)]
  assert.ok(rows.length >= 6)
  for (const [, entry = '', goes = '', stays = ''] of rows) {
    const { judge } = createOutbound({ allow: parseAllowList(entry), allowLoopbackHttp: false })
    assert.equal(judge(goes), undefined, `${entry} ${goes}`)
    for (const [, url = ''] of stays.matchAll(/`([^`]+)`/g)) {
      assert.notEqual(judge(url), undefined, `${entry} ${url}`)
    }
  }
})

// Certificates are verified, whatever the environment says; a request leaves after that alone (DR-30, EV-05).
import assert from 'node:assert/strict'
import https from 'node:https'
import { type TestContext, test } from 'node:test'
import tls from 'node:tls'
import { createOutbound } from '../../src/http/outbound.ts'
import { listen, refused } from '../support/listeners.ts'
import {
  TEST_ONLY_CERTIFICATE,
  TEST_ONLY_CERTIFICATE_OF_2000,
  TEST_ONLY_CERTIFICATE_OF_2110,
  TEST_ONLY_PRIVATE_KEY,
} from '../support/tls.ts'

const AUTHORITIES = tls.getCACertificates('default')

type Setup = { cert?: string; host?: string; trusted?: boolean; server?: https.ServerOptions }

/** An https server of 127.0.0.1 under some name. Its certificate is trusted unless told. */
async function openTls(t: TestContext, setup: Setup = {}) {
  const { cert = TEST_ONLY_CERTIFICATE, host = 'service.test', trusted = true } = setup
  if (trusted) trust(t, cert)
  const seen = { requests: 0, secured: 0, names: [] as unknown[] }
  const options = { cert, key: TEST_ONLY_PRIVATE_KEY, ...setup.server }
  const server = https.createServer(options, (request, response) => {
    seen.requests += 1
    seen.names.push((request.socket as tls.TLSSocket).servername)
    response.end('{"tls":true}')
  })
  server.on('secureConnection', () => {
    seen.secured += 1
  })
  const { port } = await listen(t, server, { host: '::', ipv6Only: false })
  const lookup = async () => ['127.0.0.1']
  const outbound = createOutbound({ allow: [`${host}:${port}`], allowLoopbackHttp: false, lookup })
  return { seen, get: () => outbound.getJson(`https://${host}:${port}/`, { maxBytes: 99 }) }
}

function trust(t: TestContext, certificate: string) {
  tls.setDefaultCACertificates([...AUTHORITIES, certificate])
  t.after(() => tls.setDefaultCACertificates(AUTHORITIES))
}

function setEnvironment(t: TestContext, name: string, value: string) {
  const before = process.env[name]
  process.env[name] = value
  t.after(() => {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  })
}

test('a certificate that is trusted, in time and for this name is good', async (t) => {
  const { seen, get } = await openTls(t)
  assert.deepEqual((await get()).json, { tls: true })
  assert.deepEqual((await get()).json, { tls: true })
  assert.deepEqual([seen.requests, seen.secured], [2, 2])
})

test('the name asked for is verified at the address judged, an address by itself', async (t) => {
  const named = await openTls(t)
  await named.get()
  await named.get()
  assert.deepEqual(named.seen.names, ['service.test', 'service.test'])
  const literal = await openTls(t, { host: '127.0.0.1' })
  assert.deepEqual((await literal.get()).json, { tls: true })
  assert.deepEqual(literal.seen.names, [false])
})

const BAD: Record<string, Setup & { code: string }> = {
  'signed by itself': { trusted: false, code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
  expired: { cert: TEST_ONLY_CERTIFICATE_OF_2000, code: 'CERT_HAS_EXPIRED' },
  'of the future': { cert: TEST_ONLY_CERTIFICATE_OF_2110, code: 'CERT_NOT_YET_VALID' },
  'for another name': { host: 'other.test', code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
  'for the domain, not the name below it': {
    host: 'sub.service.test',
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  },
  'for another address': { host: '127.0.0.2', code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
}

for (const [what, setup] of Object.entries(BAD)) {
  test(`no request leaves to a server with a certificate that is ${what} (DR-30)`, async (t) => {
    const { seen, get } = await openTls(t, setup)
    const told = await refused(get(), 'connect_failed')
    assert.equal(told.message, 'no secure connection could be made')
    assert.equal((told.cause as { code?: string }).code, setup.code)
    setEnvironment(t, 'NODE_TLS_REJECT_UNAUTHORIZED', '0')
    await refused(get(), 'connect_failed')
    assert.equal(seen.requests, 0)
  })
}

test('what was trusted once is verified again for each connection', async (t) => {
  const { seen, get } = await openTls(t, { trusted: false })
  tls.setDefaultCACertificates([...AUTHORITIES, TEST_ONLY_CERTIFICATE])
  try {
    await get()
  } finally {
    tls.setDefaultCACertificates(AUTHORITIES)
  }
  await refused(get(), 'connect_failed')
  assert.equal(seen.requests, 1)
})

test('TLS 1.1 and older are refused', async (t) => {
  const byDefault = tls.DEFAULT_MIN_VERSION
  tls.DEFAULT_MIN_VERSION = 'TLSv1'
  t.after(() => {
    tls.DEFAULT_MIN_VERSION = byDefault
  })
  const old = { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' } as const
  const { seen, get } = await openTls(t, { server: old })
  const { cause } = await refused(get(), 'connect_failed')
  assert.match(String((cause as Error).message), /protocol version/)
  assert.deepEqual([seen.requests, seen.secured], [0, 0])
})

test('who asks for a certificate of ours gets none (DR-34)', async (t) => {
  const { seen, get } = await openTls(t, {
    server: { requestCert: true, rejectUnauthorized: true },
  })
  await assert.rejects(get(), { name: 'OutboundError' })
  assert.equal(seen.requests, 0)
})

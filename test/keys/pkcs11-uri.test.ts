import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CustodyError } from '../../src/keys/custody.ts'
import { parsePkcs11Uri } from '../../src/keys/pkcs11-uri.ts'

const MODULE = 'module-path=/usr/lib/softhsm/libsofthsm2.so'

test('DS-27: a PKCS#11 URI says which token, through which module, and where its PIN is', () => {
  assert.deepEqual(parsePkcs11Uri(`pkcs11:token=agent-idp?${MODULE}&pin-source=/run/secrets/pin`), {
    selector: { token: 'agent-idp' },
    modulePath: '/usr/lib/softhsm/libsofthsm2.so',
    pin: { path: '/run/secrets/pin' },
    environment: [],
  })
  const all =
    'pkcs11:slot-id=7;manufacturer=Snake%20Oil,%20Inc.;model=1.0;serial=DECC0401;token=The%20%C3%A9'
  assert.deepEqual(parsePkcs11Uri(`${all}?pin-value=12%2634&${MODULE}&x-environment=A_CONF,b`), {
    selector: {
      'slot-id': 7,
      manufacturer: 'Snake Oil, Inc.',
      model: '1.0',
      serial: 'DECC0401',
      token: 'The é',
    },
    modulePath: '/usr/lib/softhsm/libsofthsm2.so',
    pin: { value: '12&34' },
    environment: ['A_CONF', 'b'],
  })
  assert.deepEqual(parsePkcs11Uri(`pkcs11:?${MODULE}&pin-value=0`).selector, {})
  assert.deepEqual(parsePkcs11Uri(`pkcs11:slot-id=0?${MODULE}&pin-value=0`).selector, {
    'slot-id': 0,
  })
})

test('a PIN is in a file, which has a path or a URL', () => {
  const cases = [
    ['/run/secrets/pin', '/run/secrets/pin'],
    ['file:/run/secrets/pin', '/run/secrets/pin'],
    ['file:///run/the%2520pin', '/run/the pin'],
    ['file://localhost/run/pin', '/run/pin'],
    ['C:%5Cpin.txt', 'C:\\pin.txt'],
  ]
  for (const [source, path] of cases) {
    assert.deepEqual(parsePkcs11Uri(`pkcs11:?${MODULE}&pin-source=${source}`).pin, { path }, source)
  }
})

test('what was encoded is read again as it was', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter((it) => !/\p{Cc}/u.test(it))
  fc.assert(
    fc.property(text, text, text, (token, serial, value) => {
      const [one, two, three] = [token, serial, value].map(encodeURIComponent)
      const uri = `pkcs11:token=${one};serial=${two}?pin-value=${three}&${MODULE}`
      const read = parsePkcs11Uri(uri)
      assert.deepEqual(read.selector, { token, serial })
      assert.deepEqual(read.pin, { value })
    }),
  )
})

test('every other URI is refused in words, and no word is a value', () => {
  const pin = 'pin-value=hunter2'
  const cases: [string, RegExp][] = [
    [`pkcs12:?${MODULE}&${pin}`, /must begin pkcs11:/],
    ['pkcs11:', /needs \?module-path/],
    [`pkcs11:token=a?${pin}`, /needs \?module-path/],
    [`pkcs11:token=a?module-path=lib/hunter2.so&${pin}`, /module-path must be an absolute path/],
    [`pkcs11:token=a?module-path=&${pin}`, /has an empty "module-path"/],
    [`pkcs11:token=a?${MODULE}`, /needs pin-source=.* or pin-value/],
    [`pkcs11:token=a?${MODULE}&pin-value=`, /has an empty "pin-value"/],
    [`pkcs11:token=a?${MODULE}&${pin}&pin-source=/hunter2`, /not both/],
    [`pkcs11:token=a?${MODULE}&pin-source=hunter2`, /an absolute path or a file: URL/],
    [`pkcs11:token=a?${MODULE}&pin-source=%7Chunter2`, /an absolute path or a file: URL/],
    [`pkcs11:token=a?${MODULE}&pin-source=file://hunter2/pin`, /of this machine/],
    [`pkcs11:token=a?${MODULE}&pin-source=file://hunter2:x/`, /is no URL/],
    [`pkcs11:token=a?${MODULE}&pin-source=file:///`, /of this machine/],
    [`pkcs11:token=a?${MODULE}&pin-source=file:///pin?hunter2`, /of this machine/],
    [`pkcs11:token=a?${MODULE}&pin-source=file:///%25ffhunter2`, /of this machine/],
    [`pkcs11:token=a?${MODULE}&${pin}&${pin}`, /has "pin-value" twice/],
    [`pkcs11:token=a;token=b?${MODULE}&${pin}`, /has "token" twice/],
    [`pkcs11:id=%01?${MODULE}&${pin}`, /none of token, serial/],
    [`pkcs11:object=key?${MODULE}&${pin}`, /none of token, serial/],
    [`pkcs11:${pin}?${MODULE}`, /none of token, serial/],
    [`pkcs11:token=a?${MODULE}&${pin}&module-name=x`, /none of module-path, pin-source/],
    [`pkcs11:token=a?${MODULE}&pin-value=12&hunter2=3`, /none of module-path, pin-source/],
    [`pkcs11:token?${MODULE}&${pin}`, /must be name=value, separated by ;/],
    [`pkcs11:hunter2?${MODULE}`, /must be name=value, separated by ;/],
    [`pkcs11:token=a;?${MODULE}&${pin}`, /must be name=value, separated by ;/],
    [`pkcs11:token=a?${MODULE}&${pin}&`, /must be name=value, separated by &/],
    [`pkcs11:token=a b?${MODULE}&${pin}`, /"token" must be percent-encoded/],
    [`pkcs11:token=a%2?${MODULE}&${pin}`, /"token" must be percent-encoded/],
    [`pkcs11:token=a?${MODULE}&pin-value=hunter2%`, /"pin-value" must be percent-encoded/],
    [`pkcs11:token=%ff?${MODULE}&${pin}`, /"token" must be UTF-8/],
    [`pkcs11:token=a%00?${MODULE}&${pin}`, /"token" must be without control characters/],
    [`pkcs11:slot-id=0x1?${MODULE}&${pin}`, /slot-id must be a decimal number/],
    [`pkcs11:token=a?${MODULE}&${pin}&x-environment=A=hunter2`, /names of variables/],
    [`pkcs11:token=a?${MODULE}&${pin}&x-environment=A,,B`, /names of variables/],
  ]
  for (const [uri, says] of cases) {
    assert.throws(
      () => parsePkcs11Uri(uri),
      (error) => {
        assert.ok(error instanceof CustodyError, uri)
        assert.match(error.message, says, uri)
        assert.match(error.message, /^KEY_CUSTODY: the PKCS#11 URI /)
        return !/hunter2/.test(`${error.message} ${error.cause}`)
      },
      uri,
    )
  }
})

test('no text at all makes the reader fail in another way', () => {
  const part = fc.constantFrom(...'pkcs11:token=;?&|module-path/%0aé\n'.split(''), 'token=', MODULE)
  const uri = fc.array(part).map((parts) => `pkcs11:${parts.join('')}`)
  fc.assert(
    fc.property(uri, (text) => {
      try {
        parsePkcs11Uri(text)
      } catch (error) {
        assert.ok(error instanceof CustodyError, String(error))
      }
    }),
  )
})

// Which token is meant and how it is opened, with tokens that no software token can be made to be.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  CKF_TOKEN_INITIALIZED,
  CKF_USER_PIN_FINAL_TRY,
  CKF_USER_PIN_LOCKED,
  type Cryptoki,
  CryptokiError,
  namingFaults,
  type TokenInfo,
} from '../../src/keys/cryptoki.ts'
import { CustodyError } from '../../src/keys/custody.ts'
import { openSessions } from '../../src/keys/pkcs11-sessions.ts'
import { findSlot, logIn, PinRefusedError } from '../../src/keys/pkcs11-slot.ts'

const pad = (text: string, length: number) => text.padEnd(length)
const slotOf = (number: number) => {
  const slot = Buffer.alloc(8)
  slot.writeUInt32LE(number)
  return slot
}
const A: TokenInfo = {
  label: pad('one', 32),
  manufacturerID: pad('Maker', 32),
  model: pad('M1', 16),
  serialNumber: pad('01', 16),
  flags: CKF_TOKEN_INITIALIZED,
}
const B = { ...A, label: pad('two', 32), serialNumber: '02'.padEnd(16, '\0') }
const C = { ...A, manufacturerID: pad('Other', 32), model: pad('M2', 16) }
const EMPTY = { ...A, label: pad('', 32), flags: 0 }
const TOKENS = new Map([
  [5, A],
  [70_000, B],
  [9, C],
  [0, EMPTY],
])

test('a token is found by whatever names it alone', () => {
  const cryptoki = withTokens(TOKENS)
  assert.deepEqual(findSlot(cryptoki, { token: 'two' }), slotOf(70_000))
  assert.deepEqual(findSlot(cryptoki, { serial: '02' }), slotOf(70_000))
  assert.deepEqual(findSlot(cryptoki, { 'slot-id': 70_000 }), slotOf(70_000))
  assert.deepEqual(findSlot(cryptoki, { model: 'M2' }), slotOf(9))
  assert.deepEqual(findSlot(cryptoki, { token: 'one', manufacturer: 'Other' }), slotOf(9))
  assert.deepEqual(findSlot(withTokens(new Map([[5, A]])), {}), slotOf(5))
})

test('no token, or several, are refused with a list of those there are', () => {
  const cryptoki = withTokens(TOKENS)
  const list =
    /; the module shows "one" \(serial "01"\), "two" \(serial "02"\), "one" \(serial "01"\)$/
  for (const selector of [{ token: 'three' }, { token: 'two', model: 'M2' }, { 'slot-id': 0 }]) {
    assert.throws(() => findSlot(cryptoki, selector), /^CustodyError: no token fits KEY_CUSTODY/)
    assert.throws(() => findSlot(cryptoki, selector), list)
  }
  for (const selector of [{}, { token: 'one' }, { manufacturer: 'Maker' }]) {
    assert.throws(() => findSlot(cryptoki, selector), /^CustodyError: several tokens fit/)
  }
  assert.throws(() => findSlot(withTokens(new Map()), {}), /the module shows none$/)
})

/** The PIN may be right: it is to be tried again when the token is mended. */
const isOfToken = (error: unknown) =>
  error instanceof CustodyError && !(error instanceof PinRefusedError)

test('a PIN that could lock the token, or is locked, is not tried', () => {
  for (const [flag, says] of [
    [CKF_USER_PIN_LOCKED, /the PIN is locked/],
    [CKF_USER_PIN_FINAL_TRY, /one more wrong PIN would lock the token/],
  ] as const) {
    const cryptoki = withTokens(new Map([[5, { ...A, flags: A.flags | flag }]]))
    assert.throws(
      () => logIn(cryptoki, slotOf(5), '1234'),
      (error) => isOfToken(error) && says.test((error as Error).message),
    )
    assert.equal(cryptoki.tried, 0)
  }
})

test('what a token says to a PIN is explained, and kept from being tried again', () => {
  const says: Record<string, RegExp> = {
    CKR_PIN_INCORRECT: /the PIN is wrong/,
    CKR_PIN_INVALID: /characters/,
    CKR_PIN_LEN_RANGE: /shorter or longer/,
    CKR_PIN_EXPIRED: /expired/,
  }
  for (const [ckr, words] of Object.entries(says)) {
    assert.throws(
      () => logIn(withTokens(TOKENS, `${ckr}:1`), slotOf(5), '1234'),
      (error: Error) =>
        error instanceof PinRefusedError &&
        error.message.startsWith(`C_Login failed with ${ckr}: `) &&
        words.test(error.message) &&
        !error.message.includes('1234'),
    )
  }
  for (const [ckr, words] of [
    ['CKR_PIN_LOCKED', /locked/],
    ['CKR_USER_PIN_NOT_INITIALIZED', /no user PIN yet/],
  ] as const) {
    assert.throws(
      () => logIn(withTokens(TOKENS, `${ckr}:1`), slotOf(5), '1234'),
      (error) => isOfToken(error) && words.test((error as Error).message),
    )
  }
  logIn(withTokens(TOKENS, 'CKR_USER_ALREADY_LOGGED_IN:256'), slotOf(5), '1234')
  assert.throws(
    () => logIn(withTokens(TOKENS, 'CKR_DEVICE_ERROR:48'), slotOf(5), '1234'),
    (error) => error instanceof CryptokiError && !(error instanceof PinRefusedError),
  )
})

test('an error says which function failed and with what, also with a code of the vendor', async () => {
  const failing = (message: string) => {
    const fail = () => {
      throw new Error(message)
    }
    return namingFaults({ C_Finalize: fail, C_SignAsync: async () => fail() } as never)
  }
  const says = (message: string) => ({ name: 'CryptokiError', message })
  assert.throws(
    () => failing('CKR_GENERAL_ERROR:5\n at somewhere').C_Finalize(),
    says('C_Finalize failed with CKR_GENERAL_ERROR'),
  )
  await assert.rejects(
    failing('CKR_VENDOR_DEFINED:2147483905').C_SignAsync(slotOf(1), slotOf(1), slotOf(1)),
    says('C_Sign failed with CKR_VENDOR_DEFINED 0x80000101'),
  )
  assert.throws(
    () => failing('what is this').C_Finalize(),
    says('C_Finalize failed with an error without a name'),
  )
})

test('work in one session waits for its turn; after a failure the session is another one', async () => {
  const opened: number[] = []
  const closed: number[] = []
  const cryptoki = {
    C_OpenSession: () => slotOf(opened.push(opened.length + 1)),
    C_CloseSession(session: Buffer) {
      closed.push(session.readUInt32LE())
      throw new Error('it is gone already')
    },
  } as unknown as Cryptoki
  const inSession = openSessions(cryptoki, slotOf(5), { flags: 0, number: 1 })
  const order: string[] = []
  const work = (name: string) => async (session: Buffer) => {
    order.push(`${name} begins`)
    await Promise.resolve()
    order.push(`${name} ends`)
    if (name === 'b') throw new Error('b failed')
    return session.readUInt32LE()
  }
  const all = await Promise.allSettled(['a', 'b', 'c', 'd'].map((name) => inSession(work(name))))
  assert.deepEqual(
    all.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.message)),
    [1, 'b failed', 2, 2],
  )
  assert.deepEqual(
    order,
    ['a', 'b', 'c', 'd'].flatMap((name) => [`${name} begins`, `${name} ends`]),
  )
  assert.deepEqual([opened, closed], [[1, 2], [1]])
})

test('work in several sessions is done at once', async () => {
  const cryptoki = { C_OpenSession: () => slotOf(1) } as unknown as Cryptoki
  const inSession = openSessions(cryptoki, slotOf(5), { flags: 0, number: 2 })
  const { promise: other, resolve: done } = Promise.withResolvers<void>()
  await Promise.all([inSession(() => other), inSession(async () => done())])
})

/** A module that shows these tokens, and answers to a login with this error. */
function withTokens(tokens: Map<number, TokenInfo>, loginFails?: string) {
  const module = {
    tried: 0,
    C_GetSlotList: () => [...tokens.keys()].map(slotOf),
    C_GetTokenInfo: (slot: Buffer) => tokens.get(slot.readUInt32LE()),
    C_OpenSession: () => slotOf(1),
    C_Login() {
      module.tried++
      if (loginFails) throw new Error(loginFails)
    },
  }
  const named = namingFaults(module as unknown as Cryptoki)
  return Object.create(named, { tried: { get: () => module.tried } }) as Cryptoki & {
    tried: number
  }
}

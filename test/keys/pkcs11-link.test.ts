// The server's side of a PKCS#11 custody, with a host that fails when it is told to.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openPkcs11Custody } from '../../src/keys/pkcs11-custody.ts'
import { assertSigns, makeKey, refused } from '../support/custody-contract.ts'

const HOST = new URL('../support/fake-host.ts', import.meta.url)
const INPUT = Buffer.from('what is signed')

test('DS-27: a key of the host signs as its public key says', async (t) => {
  const { custody } = await openFake(t)
  await assertSigns(custody, await makeKey(custody))
})

test('a host that crashed fails what was asked of it, and the next request starts another', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'crash')
  const all = await Promise.allSettled([sign(INPUT), sign(INPUT), sign(INPUT)])
  for (const one of all) {
    assert.ok(one.status === 'rejected')
    await refused(Promise.reject(one.reason), /PKCS#11: the host of the module (ended|is gone)/)
  }
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 2)
})

test('a host that nothing can be sent to is replaced, though its exit is not known', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'deaf')
  assert.equal((await sign(INPUT)).length, 64)
  while (said('deaf') === 0) await pause(5)
  await refused(Promise.resolve(sign(INPUT)), /PKCS#11: the host of the module is gone/)
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 2)
})

test('requests that come together after a crash share one new host', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'crash')
  await refused(Promise.resolve(sign(INPUT)))
  const all = await Promise.all([sign(INPUT), sign(INPUT), sign(INPUT)])
  assert.ok(all.every(({ length }) => length === 64))
  assert.equal(said('open'), 2)
})

test('a host that cannot be started is tried again by each request, and not by itself', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'crash')
  plan('open', 'crash', 'other')
  await refused(Promise.resolve(sign(INPUT)), /ended \(exit code 7\)/)
  await refused(Promise.resolve(sign(INPUT)), /ended \(exit code 7\)/)
  await refused(Promise.resolve(sign(INPUT)), /PKCS#11: other/)
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 4)
})

test('a host that does not answer in ten seconds is ended, and the next request starts another', async (t) => {
  const { custody, plan } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'hang')
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const hanging = Promise.resolve(sign(INPUT))
  hanging.catch(() => undefined)
  // Asked after it and answered: the first was received.
  await custody.open(await makeKey(custody))
  t.mock.timers.tick(9_999)
  assert.equal((await sign(INPUT)).length, 64)
  t.mock.timers.tick(1)
  await refused(hanging, /the module did not answer within 10 s/)
  assert.equal((await sign(INPUT)).length, 64)
})

test('when the session is lost, what failed is asked of another host, once', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'lost')
  const all = await Promise.all([sign(INPUT), sign(INPUT), sign(INPUT)])
  assert.ok(all.every(({ length }) => length === 64))
  assert.equal(said('open'), 2)

  plan('sign', 'lost', 'lost')
  await refused(Promise.resolve(sign(INPUT)), /PKCS#11: lost/)
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 4)
})

test('any other failure is told and not asked again', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  const before = said('sign')
  plan('sign', 'other')
  await refused(Promise.resolve(sign(INPUT)), /PKCS#11: other/)
  assert.equal(said('sign'), before + 1)
  assert.equal(said('open'), 1)
})

test('a PIN that was refused is not tried again, also by a later request; another one is', async (t) => {
  const { custody, plan, said, setPin } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  setPin('wrong')
  plan('sign', 'crash')
  await refused(Promise.resolve(sign(INPUT)))
  for (const _ of [1, 2, 3]) await refused(Promise.resolve(sign(INPUT)), /the PIN is wrong/)
  assert.equal(said('open'), 2)
  setPin('right')
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 3)
})

test('a PIN that was not tried is tried when the token is mended, without a restart', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'crash')
  // What a token that is locked, or about to be, has the host say.
  plan('open', 'other')
  await refused(Promise.resolve(sign(INPUT)))
  await refused(Promise.resolve(sign(INPUT)), /PKCS#11: other/)
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 3)
})

test('a module that keeps failing is replaced after a few failures without an answer between them', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'module', 'module')
  for (const _ of [1, 2]) await refused(Promise.resolve(sign(INPUT)), /PKCS#11: module/)
  assert.equal((await sign(INPUT)).length, 64)
  plan('sign', 'module', 'module', 'module')
  for (const _ of [1, 2, 3]) await refused(Promise.resolve(sign(INPUT)), /PKCS#11: module/)
  assert.equal(said('open'), 1)
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 2)
})

test('a host that keeps finding fault with what it is asked is not replaced', async (t) => {
  const { custody, plan, said } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', ...Array(9).fill('other'))
  for (let time = 0; time < 9; time++) await refused(Promise.resolve(sign(INPUT)), /other/)
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(said('open'), 1)
})

test('a wrong PIN at the start is tried once', async (t) => {
  const { setting, said } = fakeFolder(t, 'wrong')
  await refused(openPkcs11Custody(setting, HOST), /PKCS#11: the PIN is wrong/)
  assert.equal(said('open'), 1)
})

test('a PIN that cannot be read is said to be that, and the module is not asked', async (t) => {
  const { setting, setPin, pinFile, said } = fakeFolder(t, '\n')
  await refused(openPkcs11Custody(setting, HOST), /the file of pin-source is empty/)
  setPin('right\r\n')
  await (await openPkcs11Custody(setting, HOST)).close()
  rmSync(pinFile)
  await refused(openPkcs11Custody(setting, HOST), /pin-source cannot be read \(ENOENT\)/)
  assert.equal(said('open'), 1)
})

test('a host that is started while the custody closes ends with it', async (t) => {
  const { custody, plan } = await openFake(t)
  const sign = await custody.open(await makeKey(custody))
  plan('sign', 'crash')
  await refused(Promise.resolve(sign(INPUT)))
  const late = Promise.resolve(sign(INPUT))
  late.catch(() => undefined)
  await custody.close()
  await refused(late)
  await refused(Promise.resolve(sign(INPUT)), /the custody is closed/)
})

test('a reference that is none of ours is not looked for', async (t) => {
  const { custody, said } = await openFake(t)
  const key = await makeKey(custody)
  const found = said('find')
  for (const reference of ['', 'pkcs11:', `${key.reference} `, key.reference.toUpperCase()]) {
    await refused(custody.open({ ...key, reference }), /names no key in a token/)
    await refused(custody.destroy({ ...key, reference }), /names no key in a token/)
  }
  assert.equal(said('find'), found)
  assert.equal(said('destroy'), 0)
})

test('a private key that does not belong to the public one beside it is refused', async (t) => {
  const { custody, folder } = await openFake(t)
  const [key, other] = [await makeKey(custody), await makeKey(custody)]
  const fileOf = ({ reference }: typeof key) => join(folder, reference.slice('pkcs11:'.length))
  writeFileSync(fileOf(key), readFileSync(fileOf(other)))
  await refused(custody.open(key), /is another key than/)
})

async function openFake(t: TestContext) {
  const fake = fakeFolder(t, 'right')
  const custody = await openPkcs11Custody(fake.setting, HOST)
  t.after(() => custody.close())
  return { ...fake, custody }
}

function fakeFolder(t: TestContext, pin: string) {
  const folder = mkdtempSync(join(tmpdir(), 'agent-idp-fake-'))
  t.after(() => rmSync(folder, { recursive: true }))
  process.env.FAKE_HOST_FOLDER = folder
  const pinFile = join(folder, 'pin')
  const setPin = (text: string) => writeFileSync(pinFile, text)
  setPin(pin)
  return {
    folder,
    pinFile,
    setPin,
    setting: `pkcs11:?module-path=/none&pin-source=${pinFile}&x-environment=FAKE_HOST_FOLDER`,
    /** What goes wrong with the next operations of a kind, one after another. */
    plan: (op: string, ...faults: string[]) => writeFileSync(join(folder, op), faults.join(' ')),
    /** How often a kind of operation was asked of a host. */
    said: (op: string) =>
      readLog(folder)
        .split('\n')
        .filter((line) => line === op).length,
  }
}

function readLog(folder: string): string {
  try {
    return readFileSync(join(folder, 'log'), 'utf8')
  } catch {
    return ''
  }
}

/** Keys in a token: SoftHSM, which is software, behind the same interface as hardware. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openCustody, openPkcs11Custody } from '../../src/keys/pkcs11-custody.ts'
import { SIGNING_ALGS } from '../../src/oauth/signing-alg.ts'
import { assertSigns, keepsTheContract, makeKey, refused } from '../support/custody-contract.ts'
import {
  addToken,
  hasEnded,
  hostsOf,
  MODULE,
  makeToken,
  objectFiles,
  readProc,
  readToken,
} from '../support/soft-hsm.ts'

const FAULTY_HOST = new URL('../support/faulty-host.ts', import.meta.url)
const INPUT = Buffer.from('what is signed')

keepsTheContract(async (t) => (await openToken(t)).custody, { ends: true })

test('DS-27: a private key in the token signs and does nothing else, and never leaves it', async (t) => {
  const { custody, token } = await openToken(t)
  const made = new Map<string, string>()
  for (const alg of SIGNING_ALGS) {
    const { reference } = await custody.generate({ purpose: 'seal', alg })
    made.set(`agent-idp seal ${alg}`, reference)
  }
  const objects = readToken(token)
  assert.equal(objects.length, 2 * SIGNING_ALGS.length)
  for (const { label, id, can, ...object } of objects.filter((one) => one.private)) {
    assert.equal(`pkcs11:${id}`, made.get(label))
    assert.ok(object.alwaysSensitive && object.neverExtractable)
    assert.deepEqual(can, ['SIGN'], label)
  }
})

test('a destroyed key leaves nothing in the token', async (t) => {
  const { custody, token } = await openToken(t)
  const key = await makeKey(custody)
  assert.equal(readToken(token).length, 2)
  await custody.destroy(key)
  assert.deepEqual(readToken(token), [])
})

test('replicas share a token: a key that one made the other signs with, until one destroys it', async (t) => {
  const { custody: one, token } = await openToken(t)
  const other = await openCustody(token.setting)
  t.after(() => other.close())
  const key = await makeKey(one)
  await assertSigns(other, key)
  const sign = await one.open(key)
  await other.destroy(key)
  await refused(Promise.resolve(sign(INPUT)), /the token has no key with the CKA_ID/)
  await refused(one.open(key), /the token has no key with the CKA_ID/)
})

test('destroying takes the key that is meant and no other one', async (t) => {
  const { custody } = await openToken(t)
  const [key, other] = [await makeKey(custody), await makeKey(custody)]
  await refused(custody.destroy({ ...key, reference: other.reference }), /is another one than/)
  await assertSigns(custody, other)
})

test('a host that was killed with signatures under way is replaced, and keys stay open', async (t) => {
  const { custody } = await openToken(t)
  const sign = await custody.open(await makeKey(custody))
  for (let round = 0; round < 3; round++) {
    const host = theHost()
    process.kill(host, 'SIGSTOP')
    const underWay = Array.from({ length: 8 }, () => Promise.resolve(sign(INPUT)))
    process.kill(host, 'SIGKILL')
    for (const one of underWay)
      await refused(one, /PKCS#11: the host of the module (ended|is gone)/)
    assert.equal((await sign(INPUT)).length, 64)
    assert.notEqual(theHost(), host)
  }
})

test('signals that end a group of processes leave the host to the server', async (t) => {
  const { custody } = await openToken(t)
  const sign = await custody.open(await makeKey(custody))
  const host = theHost()
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(host, signal)
  assert.equal((await sign(INPUT)).length, 64)
  assert.equal(theHost(), host)
  await custody.close()
  assert.equal(readProc(host, 'cmdline'), '')
})

test('a host ends with the server, also when that was killed', async (t) => {
  const token = makeToken(t)
  const program = `
    import { openCustody } from './src/keys/pkcs11-custody.ts'
    const custody = await openCustody(process.env.SETTING)
    console.log('open')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, SETTING: token.setting },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const [host] = hostsOf(child.pid as number)
  assert.ok(host)
  child.kill('SIGKILL')
  await hasEnded(host)
})

test('the host has no secret of the server: not in its environment, not on its command line', async (t) => {
  const secrets = ['KEY_ENCRYPTION_KEY', 'ADMIN_API_KEY', 'DATABASE_URL', 'SOME_CLOUD_PASSWORD']
  for (const name of secrets) process.env[name] = `secret of ${name}`
  t.after(() => {
    for (const name of secrets) delete process.env[name]
  })
  const { custody, token } = await openToken(t, { also: '&x-environment=ADMIN_API_KEY,USER_OF_IT' })
  await custody.open(await makeKey(custody))
  const environment = readProc(theHost(), 'environ')
  assert.match(environment, /SOFTHSM2_CONF=/)
  assert.doesNotMatch(environment, /secret|PATH=/)
  for (const text of [environment, readProc(theHost(), 'cmdline')]) {
    assert.ok(text !== '' && !text.includes(token.pin))
  }
})

test('a wrong PIN is refused in words, without the PIN', async (t) => {
  const token = makeToken(t)
  writeFileSync(token.pinFile, 'hunter2hunter2')
  await assert.rejects(openCustody(token.setting), (error: Error) => {
    assert.match(error.message, /C_Login failed with CKR_PIN_INCORRECT: the PIN is wrong/)
    assert.doesNotMatch(error.message, /hunter2/)
    return true
  })
  for (const host of hostsOf(process.pid)) await hasEnded(host)
})

test('a token that is not there is refused with the list of those that are', async (t) => {
  const token = makeToken(t, 'the first')
  addToken('the "second"', '123456')
  const missing = token.setting.replace('the%20first', 'third')
  await refused(
    openCustody(missing),
    /no token fits KEY_CUSTODY; the module shows ("the first" \(serial "\w+"\)|"the \\"second\\"" \(serial "\w+"\)|, ){3}$/,
  )
  const any = token.setting.replace('token=the%20first', '')
  await refused(openCustody(any), /several tokens fit KEY_CUSTODY; the module shows /)
  const [, serial] = /the first" \(serial "(\w+)/.exec(await messageOf(openCustody(any))) ?? []
  const custody = await openCustody(
    any.replace('pkcs11:', `pkcs11:serial=${serial};model=SoftHSM%20v2`),
  )
  await assertSigns(custody, await makeKey(custody))
  await custody.close()
})

test('a module that is not there, or is none, is refused in words', async (t) => {
  const { setting } = makeToken(t)
  const with_ = (path: string) => openCustody(setting.replace(MODULE, path))
  await refused(
    with_('/nowhere/module.so'),
    /cannot be loaded: check module-path .*\/nowhere\/module/,
  )
  await refused(with_('/etc/hostname'), /cannot be loaded: check module-path/)
})

test('a session that the token lost is opened again, unseen', async (t) => {
  const { custody, lose } = await openFaulty(t, 'removed')
  const sign = await custody.open(await makeKey(custody))
  const host = theHost()
  lose()
  const all = await Promise.all([sign(INPUT), sign(INPUT), sign(INPUT), sign(INPUT), sign(INPUT)])
  assert.ok(all.every(({ length }) => length === 64))
  assert.ok(!existsSync(lose.file))
  await hasEnded(host)
})

test('a key that could leave the token is undone', async (t) => {
  const { custody, token } = await openFaulty(t, 'imported')
  await refused(custody.generate({ purpose: 'seal', alg: 'ES256' }), /can leave it/)
  assert.deepEqual(readToken(token), [])
})

test('an algorithm that the token lacks is refused by its name', async (t) => {
  const { custody } = await openFaulty(t, 'no-eddsa')
  const made = custody.generate({ purpose: 'id_jag', alg: 'EdDSA' })
  await refused(made, /no keys for EdDSA, which SIGNING_ALGS asks for: it has no CKM_EDDSA/)
  await assertSigns(custody, await makeKey(custody))
})

test('a module that only one thread may use is refused', async (t) => {
  await refused(openFaulty(t, 'unlocked'), /C_Initialize failed with CKR_CANT_LOCK/)
})

test('a key with a public object missing or doubled is refused', async (t) => {
  const { custody, token } = await openToken(t)
  const key = await makeKey(custody)
  const id = Buffer.from(key.reference.slice('pkcs11:'.length), 'hex')
  // Of the private object the id is encrypted.
  const [file = '', ...others] = objectFiles(token).filter((it) => readFileSync(it).includes(id))
  assert.equal(others.length, 0)
  const second = file.replace(/\w{12}\.object$/, 'f00000000000.object')
  copyFileSync(file, second)
  const two = await openCustody(token.setting)
  await refused(two.open(key), /the token has several keys with the CKA_ID/)
  await two.close()
  rmSync(file)
  rmSync(second)
  const none = await openCustody(token.setting)
  await refused(none.open(key), /the token has no key with the CKA_ID/)
  // Whose the private one is nobody can tell any more: it stays.
  await refused(none.destroy(key), /nothing shows whose key/)
  await none.close()
  assert.equal(readToken(token).length, 1)
})

async function openToken(t: TestContext, { also = '', host = undefined as URL | undefined } = {}) {
  const token = makeToken(t)
  const setting = token.setting + also
  const custody = await (host ? openPkcs11Custody(setting, host) : openCustody(setting))
  t.after(() => custody.close())
  return { token, custody }
}

async function openFaulty(t: TestContext, fault: string) {
  const token = makeToken(t)
  const file = join(token.folder, '..', 'fault')
  Object.assign(process.env, { FAULT: fault, FAULT_FILE: file })
  const setting = `${token.setting}&x-environment=FAULT,FAULT_FILE`
  const custody = await openPkcs11Custody(setting, FAULTY_HOST)
  t.after(() => custody.close())
  return { token, custody, lose: Object.assign(() => writeFileSync(file, ''), { file }) }
}

/** The one host of this process. */
function theHost(): number {
  const [host, ...others] = hostsOf(process.pid)
  assert.ok(host !== undefined && others.length === 0)
  return host
}

const messageOf = (work: Promise<unknown>) => work.then(String, (error: Error) => error.message)

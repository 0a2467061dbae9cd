// The last second that is accepted and the first that is not, at both endpoints.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { authMd, CLAIMS, CLOCK, idJag, ras, verify } from './paperclip.ts'

type Claims = Record<string, unknown>
const BOTH = [ras, authMd]

async function isAccepted(claims: Claims, context: ReturnType<typeof ras | typeof authMd>) {
  return (await verify(idJag(claims), context)).ok
}

test('exp: accepted for 59 seconds more, not for 60 (IJ-52, TV-22, TV-23)', async () => {
  for (const context of BOTH) {
    const at = (exp: number) => isAccepted({ iat: CLOCK - 300, exp }, context())
    assert.deepEqual(
      [await at(CLOCK - 59), await at(CLOCK - 60), await at(CLOCK - 59.5)],
      [true, false, true],
    )
  }
})

test('iat and nbf: 60 seconds ahead, not 61 (IJ-52, TV-24)', async () => {
  for (const context of BOTH)
    for (const name of ['iat', 'nbf']) {
      const at = (date: number) => isAccepted({ [name]: date }, context())
      assert.deepEqual(
        [await at(CLOCK), await at(CLOCK + 60), await at(CLOCK + 61)],
        [true, true, false],
      )
    }
})

test('a life of 300 seconds, not of 301, at the token endpoint (TV-25)', async () => {
  const at = (life: number) => isAccepted({ exp: CLAIMS.iat + life }, ras())
  assert.deepEqual([await at(300), await at(301)], [true, false])
})

test('auth_time at the auth.md service: 3660 seconds old or 60 ahead, no more (TV-31 to TV-33)', async () => {
  const at = (auth_time: number) => isAccepted({ auth_time }, authMd())
  assert.deepEqual(
    [
      await at(CLOCK - 3661),
      await at(CLOCK - 3660),
      await at(CLOCK),
      await at(CLOCK + 60),
      await at(CLOCK + 61),
    ],
    [false, true, true, true, false],
  )
})

test('auth_time at the token endpoint: of any age, 60 seconds ahead, no more (TV-33)', async () => {
  const at = (auth_time: number) => isAccepted({ auth_time }, ras())
  assert.deepEqual([await at(0), await at(CLOCK + 60), await at(CLOCK + 61)], [true, true, false])
})

test('the last number that every parser reads alike is a date', async () => {
  assert.equal(await isAccepted({ exp: Number.MAX_SAFE_INTEGER }, authMd()), true)
})

test('a date is a number that every parser reads alike', async () => {
  const strange = [undefined, null, '1795276800', true, [1795276800], {}, 2 ** 53, -(2 ** 53)]
  for (const context of BOTH)
    for (const name of ['exp', 'iat'])
      for (const value of strange) {
        assert.equal(await isAccepted({ [name]: value }, context()), false, `${name} ${value}`)
      }
  for (const context of BOTH)
    for (const value of strange.slice(1)) {
      assert.equal(await isAccepted({ nbf: value }, context()), false, `nbf ${value}`)
    }
  for (const value of strange.slice(1))
    assert.equal(await isAccepted({ auth_time: value }, ras()), false, `auth_time ${value}`)
  for (const value of strange)
    assert.equal(await isAccepted({ auth_time: value }, authMd()), false, `auth_time ${value}`)
})

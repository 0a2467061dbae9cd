// Whatever is sent to the token endpoint: nobody gets a 5xx, an answer in another dialect, or a change of state.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { attack } from '../support/fuzz.ts'
import { BASES } from '../support/hostile-bases.ts'
import { judgeTokenRequest } from '../support/hostile-judge.ts'
import { anyRequest, writeRequest } from '../support/hostile-requests.ts'
import { openWorld } from '../support/hostile-world.ts'

const world = await openWorld({ after })

/** Those that are refused as they stand; with all others there is nothing wrong. */
const REFUSED: Record<string, string> = {
  'of a public client': 'unauthorized_client',
  'of a silent issuer': 'temporarily_unavailable',
  'too strict': 'insufficient_user_authentication',
  blocked: 'access_denied',
  'of a spent refresh token': 'invalid_grant',
  'a spent refresh': 'invalid_grant',
  closed: 'invalid_target',
  'of nobody known': 'invalid_target',
}

test('what is spoilt below has nothing wrong with it before', async () => {
  const refused: Record<string, string> = {}
  for (const base of Object.keys(BASES)) {
    const request = await writeRequest(world, {
      base,
      edits: [],
      headers: [],
      noise: undefined,
      again: false,
    })
    const { body } = await judgeTokenRequest(world, request)
    if (body.error !== undefined) refused[base] = body.error
  }
  assert.deepEqual(refused, REFUSED)
})

test('any request at all is answered in the dialect of the token endpoint (SE-15)', async () => {
  await attack(anyRequest(world), async (of) => {
    const request = await writeRequest(world, of)
    await judgeTokenRequest(world, request)
    if (of.again) await judgeTokenRequest(world, request)
  })
})

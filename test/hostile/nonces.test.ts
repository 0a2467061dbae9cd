// DPoP proofs at a token endpoint that asks for its nonces: one, several or none, with anything wrong.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { attack } from '../support/fuzz.ts'
import { judgeTokenRequest } from '../support/hostile-judge.ts'
import { anyRequest, writeRequest } from '../support/hostile-requests.ts'
import { openWorld } from '../support/hostile-world.ts'

const world = await openWorld({ after }, { DPOP_NONCES: 'on' })
const BOUND = [
  ...['of a bound client', 'of a bound refresh token', 'of a bound access token', 'with a proof'],
  ...['key-bound', 'a bound code', 'a bound refresh', 'a public refresh', 'by its key'],
]
const asItIs = { edits: [], headers: [], noise: undefined, again: false }

test('with the nonce in its proof, each of these is granted', async () => {
  for (const base of BOUND) {
    const { status, text } = await judgeTokenRequest(
      world,
      await writeRequest(world, { ...asItIs, base }),
    )
    assert.equal(status, 200, `${base}: ${text}`)
  }
})

test('any proof at all is taken or refused, and a nonce told to whoever lacks it (SE-15, DP-06)', async () => {
  await attack(
    anyRequest(world, { bases: BOUND, edits: 1, proofs: true }),
    async (of) => {
      const request = await writeRequest(world, of)
      for (const sent of of.again ? [request, request] : [request]) {
        const { body, headers } = await judgeTokenRequest(world, sent)
        if (body.error === 'use_dpop_nonce')
          assert.match(String(headers['dpop-nonce']), /^[\w-]{43}$/)
      }
    },
    0.5,
  )
})

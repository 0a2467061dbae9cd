// Whatever is sent to the token endpoint: nobody gets a 5xx, an answer in another dialect, or a change of state.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { attack } from '../support/fuzz.ts'
import { BASES } from '../support/hostile-bases.ts'
import { anyBytes, ofBytes } from '../support/hostile-bytes.ts'
import { assertNoSecret, assertNothingDone, judgeTokenRequest } from '../support/hostile-judge.ts'
import { anyRequest, writeRequest } from '../support/hostile-requests.ts'
import { deep, unsigned } from '../support/hostile-text.ts'
import { openWorld } from '../support/hostile-world.ts'
import { assertOAuthError } from '../support/refusals.ts'
import { RESOURCE } from '../support/story.ts'

const world = await openWorld({ after })
const { house, changes } = world

/** Those that are refused as they stand; with all others there is nothing wrong. */
const REFUSED: Record<string, string> = {
  'of a public client': 'unauthorized_client',
  'of somebody new, who is to be asked': 'interaction_required',
  'from a new client': 'invalid_grant',
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

const METHODS = ['POST', 'POST', 'POST', 'GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD']

test('any bytes at all, by any method, are answered in the dialect of the token endpoint', async () => {
  await attack(
    anyBytes(METHODS),
    async (of) => {
      const answer = await house.inject(ofBytes(of, '/oauth2/token'))
      assertNothingDone(await changes.take())
      assertNoSecret(world, answer)
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status} ${answer.text}`)
      if (of.method !== 'HEAD') assertOAuthError(answer, answer.status, 'invalid_request')
    },
    0.25,
  )
})

const asItIs = { edits: [], headers: [], noise: undefined, again: false }
const good = { ...asItIs, base: 'by its key' }

test('whatever is in flight with it, a good request is granted', async () => {
  const { client_id } = world.parties.agents.keyed
  await attack(
    fc.array(anyRequest(world), { minLength: 1, maxLength: 6 }),
    async (cases) => {
      const all = [good, ...cases, good]
      const requests = await Promise.all(all.map((of) => writeRequest(world, of)))
      await changes.take()
      const answers = await Promise.all(requests.map((request) => house.inject(request)))
      const written = await changes.take()
      await world.renew(written)
      for (const { status, text } of answers) assert.ok(status < 500 || status === 503, text)
      assertNoSecret(world, answers)
      const isEnded = written.some(({ after }) => after?.ended_at && after.agent_id === client_id)
      const statuses = [answers[0], answers.at(-1)].map((answer) => answer?.status)
      assert.ok(isEnded || statuses.every((status) => status === 200), statuses.join())
    },
    0.05,
  )
})

const POISONS: [name: string, text: string, base?: string][] = [
  ['audience', 'https://a\0b.example'],
  ['client_id', '\0', 'by its secret'],
  ['client_secret', '\0', 'by its secret'],
  ['subject_token', unsigned({ alg: 'ES256' }, { agent_idp_grant: 'rtf_\0' })],
  ['subject_token', unsigned({ alg: 'ES256' }, { iss: 'https://a\0', sub: '\0' })],
  ['client_assertion', unsigned({ alg: 'ES256' }, { iss: 'agt_\0', sub: 'agt_\0' })],
  ['actor_token', unsigned({ alg: 'ES256' }, { iss: 'agt_\0', sub: 'agt_\0' }), 'with an actor'],
  ['resource', '\0'],
  ['scope', '\0'],
  ['agent_context_id', '\0'],
  ['code', '\0', 'a code'],
  ['code_verifier', '\0', 'a code'],
  ['refresh_token', '\0', 'a refresh'],
]

test('a NUL byte fails the request that has it, and none of those in flight with it', async () => {
  const cases = POISONS.flatMap(([name, text, base = 'by its key']) => [
    good,
    { ...asItIs, base, edits: [{ do: 'set' as const, name, text }] },
    good,
  ])
  const requests = await Promise.all(cases.map((of) => writeRequest(world, of)))
  const answers = await Promise.all(requests.map((request) => house.inject(request)))
  for (const [at, answer] of answers.entries()) {
    const { status, body, text } = answer
    if (at % 3 === 1) assertOAuthError(answer, status === 401 ? 401 : 400, body?.error)
    else assert.equal(status, 200, text)
  }
})

test('what is too long is refused before it is read', async () => {
  const ask = async (name: string, ...values: string[]) => {
    const request = await writeRequest(world, good)
    const more = new URLSearchParams(values.map((value): [string, string] => [name, value]))
    const kept = new URLSearchParams(String(request.payload))
    kept.delete(name)
    return judgeTokenRequest(world, { ...request, payload: `${kept}&${more}` })
  }
  for (const [name, length] of [
    ['subject_token', 16 * 1024 + 1],
    ['scope', 16 * 1024 + 1],
    ['audience', 2049],
    ['resource', 2049],
    ['agent_platform', 257],
  ] as const) {
    const answer = await ask(name, 'x'.repeat(length))
    assertOAuthError(answer, 400, 'invalid_request')
    assert.match(
      answer.body.error_description,
      new RegExp(`^${name} must have at most \\d+ characters$`),
    )
  }
  const many = Array.from({ length: 21 }, (_, at) => `${RESOURCE}${at}`)
  assertOAuthError(await ask('resource', ...many), 400, 'invalid_request')
  assertOAuthError(await ask('padding', 'x'.repeat(64 * 1024)), 400, 'invalid_request')
})

test('a token of sixteen kilobytes that nests as deep as it can is just not ours', async () => {
  const nested = `{"alg":"ES256","typ":${'['.repeat(900)}${']'.repeat(900)}}`
  const edit = { do: 'set' as const, name: 'subject_token', text: unsigned(nested, deep) }
  const request = await writeRequest(world, { ...good, edits: [edit] })
  assertOAuthError(await judgeTokenRequest(world, request), 400, 'invalid_grant')
})

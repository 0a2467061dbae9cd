import assert from 'node:assert/strict'
import { decodeJwt } from 'jose'
import { GRANT } from '../../src/oauth/names.ts'
import { authorize, signIn } from './browser.ts'
import { athOf, type DpopKey, proofBy } from './dpop.ts'
import type { Answer, Doors, House } from './house.ts'
import { refusalsSince, stateOf } from './refusals.ts'
import { clientAuthentication, type Story, type StoryAgent, tellStory } from './story.ts'

/** How an access token is sent: as its bearer's, or with proofs by a key. */
export type Sent = { token: string; scheme?: string; key?: DpopKey; dpop?: string }

/** The answer of a door of the auth.md provider guide. */
export async function call(
  at: Doors,
  method: 'GET' | 'POST' | 'DELETE' | 'PUT',
  path: string,
  { token, key, scheme = key ? 'DPoP' : 'Bearer', dpop }: Sent,
  body?: unknown,
): Promise<Answer> {
  const proof =
    dpop ??
    (key &&
      (await proofBy(key, at, {
        htm: method,
        htu: `${at.config.issuer}${path}`,
        ath: athOf(token),
      })))
  return at.inject({
    method,
    url: path,
    headers: {
      authorization: `${scheme} ${token}`,
      ...(proof && { dpop: proof }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { payload: JSON.stringify(body) }),
  })
}

/** An access token for these doors: of a sign-in of its own, with a key if one is given. */
export async function delegateToken(
  story: Story,
  { scope = 'openid delegate', key, as = story.agent }: TokenOptions = {},
): Promise<{ access_token: string; refresh_token: string }> {
  const { house, browser, user } = story
  if (!browser.cookies.has('session')) await signIn(browser, user)
  const code = await authorize(browser, as, { scope })
  const fields = {
    grant_type: GRANT.authorizationCode,
    ...code,
    ...(await clientAuthentication(house, as)),
  }
  const headers: Record<string, string> = key ? { dpop: await proofBy(key, house) } : {}
  const answer = await house.form('/oauth2/token', fields, headers)
  assert.equal(answer.status, 200, answer.text)
  return answer.body
}
type TokenOptions = { scope?: string; key?: DpopKey; as?: StoryAgent }

export type World = { story: Story; token: string; body: Record<string, unknown> }

/** A story in which the ID-JAG would be issued for the token. */
export async function delegated(
  at: Doors,
  options: Parameters<typeof tellStory>[1] = {},
): Promise<World> {
  const story = await tellStory(at, options)
  await story.delegate()
  const { access_token: token } = await delegateToken(story)
  return { story, token, body: { audience: story.audience.issuer, scope: 'docs.read' } }
}

export const askIdJag = (
  { story, token, body }: World,
  changes: object = {},
  sent: Partial<Sent> = {},
): Promise<Answer> =>
  call(story.house, 'POST', '/id-jag', { token, ...sent }, { ...body, ...changes })

/** The name of the claim that says of which grant a token of ours is. */
export const markerOf = (token: string): string =>
  Object.keys(decodeJwt(token)).find((name) => /grant/.test(name)) as string

/** That an answer is an error in the words of these doors (TX-63). */
export function assertBearerError(answer: Answer, status: number, error: string): void {
  assert.equal(`${answer.status} ${answer.body?.error}`, `${status} ${error}`, answer.text)
  const { error_description, message } = answer.body
  assert.match(error_description, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  assert.equal(message, error_description)
  assert.match(String(answer.headers['content-type']), /^application\/json/)
  assert.equal(answer.headers['cache-control'], 'no-store')
  assert.equal(answer.headers.pragma, 'no-cache')
  assert.equal(answer.body.assertion, undefined)
  const challenge = answer.headers['www-authenticate']
  if (status === 401) assert.match(String(challenge), /^(Bearer|DPoP) realm="agent-idp"/)
  else assert.equal(challenge, undefined)
}

/** That it is refused so, that the audit log has the true reason once, and that nothing else changed. */
export async function assertRefusedHere(
  house: House,
  request: () => Promise<Answer>,
  [status, error, reason]: readonly [number, string, string | null],
): Promise<Answer> {
  // Of refusals before the agent is known so many are written in a minute.
  house.wait(1)
  const from = house.clock.now
  const before = await stateOf(house)
  const answer = await request()
  assertBearerError(answer, status, error)
  const written = (await refusalsSince(house, from)).map((event) => [event.error, event.reason])
  assert.deepEqual(written, reason === null ? [] : [[error, reason]])
  assert.deepEqual(await stateOf(house), before)
  return answer
}

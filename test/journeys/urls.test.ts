// No token stands in a URL: not in one that is asked for, nor in one that we send anybody to (FL-01).
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { TOKEN_TYPE } from '../../src/oauth/names.ts'
import { callsBy, type Doors, openHouse } from '../support/house.ts'
import { RESOURCE, tellStory } from '../support/story.ts'

const house = await openHouse({ after }, { DELEGATE_TOKENS: 'on' })

/** Every address of the story: asked for, redirected to, told, or linked in a page. */
const urls = new Set<string>()
const inject: Doors['inject'] = async (options) => {
  const answer = await house.inject(options)
  urls.add(String(options.url))
  for (const name of ['location', 'link', 'content-location', 'refresh']) {
    if (answer.headers[name] !== undefined) urls.add(String(answer.headers[name]))
  }
  for (const [, url = ''] of answer.text.matchAll(/(?:href|src|action)="([^"]*)"/g)) urls.add(url)
  for (const [url] of answer.text.matchAll(/https?:\/\/[^\s"<>\\]+/g)) urls.add(url)
  return answer
}
const doors: Doors = { config: house.config, clock: house.clock, inject, ...callsBy(inject) }

/** Each by what it is: the signature of a signed one, or all of it. */
const tokens: Record<string, string> = {}
const keep = (name: string, token: unknown) => {
  const text = String(token)
  assert.ok(text.length > 20, `${name}: ${text}`)
  tokens[name] = text.split('.')[2] ?? text
}

describe('a story from the sign-in to the end', () => {
  before(async () => {
    const story = await tellStory(doors, {
      agent: { token_endpoint_auth_method: 'client_secret_post' },
    })
    const { id_token, access_token, refresh_token } = await story.signIn(
      story.agent,
      'openid offline_access delegate',
    )
    keep('id_token', id_token)
    keep('access_token', access_token)
    keep('refresh_token', refresh_token)
    keep('secret', story.agent.client_secret)

    const { body: question } = await story.exchange({ resource: RESOURCE })
    assert.equal(question.error, 'interaction_required')
    const page = await story.browser.get(new URL(question.interaction_uri).pathname)
    const choice = { decision: 'allow', mode: 'always', scope: 'docs.read' }
    assert.equal((await story.browser.submit(page, choice)).status, 200)
    const exchanged = await story.exchange({ resource: RESOURCE })
    keep('id_jag', exchanged.body.access_token)
    const subject = { subject_token: refresh_token, subject_token_type: TOKEN_TYPE.refreshToken }
    keep('id_jag by refresh token', (await story.exchange(subject)).body.access_token)

    const authorization = `Bearer ${access_token}`
    const asked = await inject({
      method: 'POST',
      url: '/id-jag',
      headers: { authorization, 'content-type': 'application/json' },
      payload: JSON.stringify({ audience: story.audience.issuer, scope: 'docs.read' }),
    })
    keep('id_jag by access token', asked.body.assertion)
    for (const url of ['/oauth2/userinfo', '/grants']) {
      assert.equal((await inject({ method: 'GET', url, headers: { authorization } })).status, 200)
    }

    const { client_id, client_secret } = story.agent
    const client = { client_id, client_secret }
    const renewed = await doors.form('/oauth2/token', {
      grant_type: 'refresh_token',
      refresh_token,
      ...client,
    })
    keep('next refresh_token', renewed.body.refresh_token)
    const hint = { id_token_hint: renewed.body.id_token }
    assert.equal((await story.browser.post('/oauth2/logout', hint)).status, 200)
    const given = { token: renewed.body.refresh_token, ...client }
    assert.equal((await doors.form('/oauth2/revoke', given)).status, 200)
    await story.browser.get('/account')
  })

  test('has many addresses and tokens', () => {
    assert.ok(urls.size > 15, `${urls.size} addresses`)
    assert.equal(Object.keys(tokens).length, 8)
    assert.ok(
      [...urls].some((url) => url.includes('code=')),
      'that of a code among them',
    )
  })

  test('and no token in any address (FL-01)', () => {
    for (const url of urls) {
      for (const text of [url, decodeURIComponent(url)]) {
        for (const [name, token] of Object.entries(tokens)) {
          assert.ok(!text.includes(token), `${name} stands in ${url}`)
        }
      }
    }
  })
})

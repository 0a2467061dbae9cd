import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import Fastify from 'fastify'
import { openUserDoor } from '../../src/http/user-door.ts'
import { browser } from '../support/browser.ts'
import { openHouse } from '../support/house.ts'

const house = await openHouse({ after })
const BROWSER = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }

test('whoever opens the bare address is led to their own page', async () => {
  const answer = await house.inject({ method: 'GET', url: '/' })
  assert.equal(answer.status, 303)
  assert.equal(answer.headers.location, '/account')
  assert.match((await browser(house).get('/')).url, /^\/sign-in\?/)
})

test('an unknown path is a page to a browser, and a problem to a program', async () => {
  for (const url of ['/nowhere', '/account/nowhere', '/oauth2/nowhere', '/%zz']) {
    const page = await house.inject({ method: 'GET', url, headers: BROWSER })
    assert.equal(page.status, 404)
    assert.match(String(page.headers['content-type']), /^text\/html/)
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'/)
    assert.match(page.text, /<h1>Page not found<\/h1>/)
    assert.doesNotMatch(page.text, /nowhere/)
    for (const accept of ['application/json', '*/*', undefined]) {
      const problem = await house.inject({ method: 'GET', url, headers: accept ? { accept } : {} })
      assert.equal(problem.status, 404)
      assert.equal(problem.body.type, '/problems/not_found')
    }
  }
})

test('the admin door speaks JSON to browsers too', async () => {
  const answer = await house.admin('GET', '/nowhere', undefined, BROWSER)
  assert.equal(answer.status, 404)
  assert.equal(answer.body.type, '/problems/not_found')
})

test('a wrong method is answered by a page that names the right ones', async () => {
  for (const [method, url, allow] of [
    ['DELETE', '/sign-in', 'GET, HEAD, POST'],
    ['POST', '/account', 'GET, HEAD'],
    ['GET', '/account/delegations/x/stop', 'POST'],
    ['PUT', '/consent/x', 'GET, HEAD, POST'],
    ['POST', '/', 'GET, HEAD'],
  ] as const) {
    const answer = await house.inject({ method, url })
    assert.equal(`${url} ${answer.status}`, `${url} 405`)
    assert.equal(answer.headers.allow, allow)
    assert.match(String(answer.headers['content-type']), /^text\/html/)
    assert.equal(answer.headers['x-frame-options'], 'DENY')
    assert.match(answer.text, /role="alert"/)
  }
})

test('while the database is away a page says that it passes', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  openUserDoor(app)
  app.get('/', async () => {
    throw Object.assign(new Error('terminating connection'), { code: '57P01' })
  })
  const answer = await app.inject({ method: 'GET', url: '/' })
  assert.equal(answer.statusCode, 503)
  assert.equal(answer.headers['retry-after'], '1')
  assert.match(answer.body, /<h1>We are busy or restarting<\/h1>/)
})

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import type { Answer, Doors, Form } from './house.ts'
import { formBody } from './house.ts'

export const PASSWORD = 'correct horse battery staple'

/** A browser: it keeps cookies, follows redirects within the house and reads forms as a person would. */
export type Browser = {
  cookies: Map<string, string>
  /** Follows redirects as long as they stay here; the last answer, with its address. */
  get(path: string): Promise<Visit>
  /** Sends the form as it is: hidden fields are for the caller to give. */
  post(path: string, fields: Form): Promise<Visit>
  /** Fills in the first form of a page that has a field or button of that name, and sends it. */
  submit(page: Visit, fields: Form): Promise<Visit>
}
export type Visit = Answer & { url: string }

export type Client = { client_id: string; redirect_uri: string }
export type Person = { email: string; password?: string }

export function browser(house: Doors): Browser {
  const cookies = new Map<string, string>()

  async function send(method: 'GET' | 'POST', url: string, fields?: Form): Promise<Visit> {
    const answer = await house.inject({
      method,
      url,
      headers: {
        ...(cookies.size > 0 && {
          cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        }),
        ...(fields && { 'content-type': 'application/x-www-form-urlencoded' }),
      },
      ...(fields && { payload: formBody(fields) }),
    })
    for (const line of [answer.headers['set-cookie'] ?? []].flat()) keep(cookies, String(line))
    const location = answer.headers.location
    const here = typeof location === 'string' ? pathWithin(house, location) : undefined
    return here === undefined ? { ...answer, url } : send('GET', here)
  }

  return {
    cookies,
    get: (path) => send('GET', path),
    post: (path, fields) => send('POST', path, fields),
    submit(page, fields) {
      const [name = ''] = Object.keys(fields)
      const form = formsOf(page.text).find(({ markup }) => markup.includes(`name="${name}"`))
      assert.ok(form, `no form with a field ${name} on ${page.url}`)
      return send('POST', form.action ?? page.url, { ...form.hidden, ...fields })
    },
  }
}

/** Signs in on the sign-in page; the answer is wherever that leads. */
export async function signIn(
  user: Browser,
  { email, password = PASSWORD }: Person,
  returnTo?: string,
): Promise<Visit> {
  const query = returnTo === undefined ? '' : `?${new URLSearchParams({ return_to: returnTo })}`
  const page = await user.get(`/sign-in${query}`)
  return user.submit(page, { email, password })
}

export const newVerifier = (): string => randomBytes(32).toString('base64url')

export const challengeOf = (verifier: string): string =>
  createHash('sha256').update(verifier).digest('base64url')

/** The address of an authorization request that has nothing wrong with it, but for what is asked otherwise. */
export function authorizeUrl(
  { client_id, redirect_uri }: Client,
  { verifier, ...others }: Form & { verifier?: string } = {},
): string {
  const fields: Form = {
    response_type: 'code',
    client_id,
    redirect_uri,
    scope: 'openid',
    state: 'the state',
    nonce: 'the nonce',
    code_challenge: challengeOf(verifier ?? newVerifier()),
    code_challenge_method: 'S256',
    ...others,
  }
  return `/oauth2/authorize?${formBody(fields)}`
}

/** The parameters of the redirect that left the house for the client. */
export function redirected(visit: Visit, { redirect_uri }: Client): URLSearchParams {
  const location = String(visit.headers.location)
  assert.equal(visit.status, 303, visit.text)
  assert.ok(location.startsWith(redirect_uri), `${location} is not on ${redirect_uri}`)
  return new URL(location).searchParams
}

/** A code for the user who is signed in, and what its redemption needs. */
export async function authorize(
  user: Browser,
  client: Client,
  { scope = 'openid', ...others }: Form = {},
  /** Answers the question whether to sign in there; without it, such a question is an error. */
  answer: (page: Visit) => Promise<Visit> = async (page) => page,
): Promise<{ code: string; code_verifier: string; redirect_uri: string }> {
  const verifier = newVerifier()
  const params = redirected(
    await answer(await user.get(authorizeUrl(client, { verifier, scope, ...others }))),
    client,
  )
  const code = params.get('code')
  assert.ok(code, `no code but ${params}`)
  return { code, code_verifier: verifier, redirect_uri: client.redirect_uri }
}

function keep(cookies: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split('; ')
  const name = pair.slice(0, pair.indexOf('='))
  const value = pair.slice(pair.indexOf('=') + 1)
  const gone =
    value === '' ||
    attributes.some((attribute) => /^(max-age=0|expires=thu, 01 jan 1970)/i.test(attribute))
  if (gone) cookies.delete(name)
  else cookies.set(name, value)
}

function pathWithin(house: Doors, location: string): string | undefined {
  const url = new URL(location, house.config.issuer)
  return url.origin === house.config.issuer ? url.pathname + url.search : undefined
}

function formsOf(text: string) {
  return [...text.matchAll(/<form[^>]*>[\s\S]*?<\/form>/g)].map(([markup]) => ({
    markup,
    action: decoded(/<form[^>]* action="([^"]*)"/.exec(markup)?.[1]),
    hidden: Object.fromEntries(
      [...markup.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)].map(
        ([, name = '', value]) => [name, decoded(value)],
      ),
    ) as Form,
  }))
}

const decoded = (text: string | undefined) =>
  text
    ?.replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')

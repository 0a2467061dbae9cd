import assert from 'node:assert/strict'
import { sql } from 'kysely'
import { PASSWORD } from './browser.ts'
import type { Answer, Form, House } from './house.ts'

export type EnrolledUser = { id: string; email: string; password: string }
export type EnrolledAgent = {
  id: string
  client_id: string
  client_secret: string | undefined
  redirect_uri: string
  owner_id: string
}

let count = 0

/** A user with an address of their own and the common password. */
export async function enrolUser(house: House, body: object = {}): Promise<EnrolledUser> {
  const email = `person-${++count}@orbit.example`
  const answer = await house.admin('POST', '/users', { email, password: PASSWORD, ...body })
  assert.equal(answer.status, 201, answer.text)
  return { id: answer.body.id, email: answer.body.email, password: PASSWORD }
}

/** An agent with a secret and one redirect URI, owned by a user of its own. */
export async function enrolAgent(house: House, body: object = {}): Promise<EnrolledAgent> {
  const tenant = 'tenant_id' in body ? { tenant_id: body.tenant_id } : {}
  const owner = await enrolUser(house, tenant)
  const answer = await house.admin('POST', '/agents', {
    name: `Agent ${++count}`,
    purpose: 'sorts the mail',
    owner_id: owner.id,
    expires_at: new Date(house.clock.now.getTime() + 365 * 86_400_000).toISOString(),
    token_endpoint_auth_method: 'client_secret_post',
    redirect_uris: ['https://agent.example/callback'],
    ...body,
  })
  assert.equal(answer.status, 201, answer.text)
  return {
    id: answer.body.id,
    client_id: answer.body.client_id,
    client_secret: answer.body.client_secret,
    redirect_uri: answer.body.redirect_uris[0],
    owner_id: owner.id,
  }
}

/** The token endpoint, with the agent's secret in the body. */
export function askToken(
  house: House,
  agent: EnrolledAgent,
  fields: Form,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const { client_id, client_secret } = agent
  return house.form('/oauth2/token', { client_id, client_secret, ...fields }, headers)
}

export const redeem = (
  house: House,
  agent: EnrolledAgent,
  fields: Form,
  headers: Record<string, string> = {},
): Promise<Answer> =>
  askToken(house, agent, { grant_type: 'authorization_code', ...fields }, headers)

export const refresh = (
  house: House,
  agent: EnrolledAgent,
  refresh_token: string,
  others: Form = {},
  headers: Record<string, string> = {},
) => askToken(house, agent, { grant_type: 'refresh_token', refresh_token, ...others }, headers)

/** The payload of a JWS, unverified. */
// biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
export const claimsOf = (jws: string): any =>
  JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8'))

/** The audit events of a type, newest first. */
export async function events(house: House, type: string) {
  return house.deps.db
    .selectFrom('audit_events')
    .selectAll()
    .where('type', '=', type)
    .orderBy(sql`xid`, 'desc')
    .execute()
}

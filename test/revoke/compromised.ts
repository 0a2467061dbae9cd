/** What tests of a dropped key ask of a house. */

import assert from 'node:assert/strict'
import type { KeyPurpose } from '../../src/db/tables.ts'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'
import type { Answer, Doors, House } from '../support/house.ts'
import type { Story } from '../support/story.ts'

export const drop = (house: Doors, kid: string, body: object | undefined = { reason: 'a test' }) =>
  house.admin('POST', `/keys/${kid}/compromise`, body)

/** The same, where it has to be done. */
export async function dropped(house: Doors, kid: string, body?: object) {
  const { status, body: answer, text } = await drop(house, kid, body)
  assert.equal(status, 200, text)
  assert.equal(answer.complete, true, text)
  return answer
}

export const listRows = ({ deps }: House) =>
  deps.db.selectFrom('signing_keys').selectAll().orderBy('kid').execute()

type Row = Awaited<ReturnType<typeof listRows>>[number]

/** The one key of that purpose and algorithm that signs, or will. */
export async function keyOf(
  house: House,
  purpose: KeyPurpose,
  alg: SigningAlg,
  status: 'active' | 'next' = 'active',
): Promise<Row> {
  const found = (await listRows(house)).filter(
    (row) => row.purpose === purpose && row.alg === alg && row.status === status,
  )
  assert.equal(found.length, 1, `${found.length} ${status} keys of ${purpose} ${alg}`)
  return found[0] as Row
}

export const kidOf = (jws: string): string =>
  JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString()).kid

export async function publishedKids(house: Doors): Promise<string[]> {
  const { body } = await house.inject({ method: 'GET', url: '/.well-known/jwks.json' })
  return body.keys.map(({ kid }: { kid: string }) => kid)
}

export const sessionsOf = ({ deps }: House, { user }: Pick<Story, 'user'>) =>
  deps.db
    .selectFrom('sessions')
    .select(['id', 'ended_at', 'end_reason', 'continues'])
    .where('user_id', '=', user.id)
    .orderBy('created_at')
    .execute()

export async function auditOf({ deps }: House, type: string) {
  return deps.db
    .selectFrom('audit_events')
    .selectAll()
    .where('type', '=', type)
    .orderBy('id')
    .execute()
}

export const userinfo = (house: Doors, access_token: string): Promise<Answer> =>
  house.inject({
    method: 'GET',
    url: '/oauth2/userinfo',
    headers: { authorization: `Bearer ${access_token}` },
  })

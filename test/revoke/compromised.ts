/** What tests of a dropped key ask of a house. */

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
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

/**
 * The same among others who write: the server waits for those for some seconds, and a busy machine may let them
 * take longer. Counts what all the calls ended.
 */
export async function droppedAmongWriters(house: Doors, kid: string) {
  const ended = { sessions_ended: 0, events_queued: 0 }
  const patience = AbortSignal.timeout(60_000)
  for (;;) {
    const { status, body, text } = await drop(house, kid)
    assert.equal(status, 200, text)
    ended.sessions_ended += body.sessions_ended
    ended.events_queued += body.events_queued
    if (body.complete) return ended
    assert.ok(!patience.aborted, text)
  }
}

export const listRows = ({ deps }: House) =>
  deps.db.selectFrom('signing_keys').selectAll().orderBy('kid').execute()

type Row = Awaited<ReturnType<typeof listRows>>[number]

/** The one key of that purpose and algorithm that signs, or will; who dropped one has not waited long for another. */
export async function keyOf(
  house: House,
  purpose: KeyPurpose,
  alg: SigningAlg,
  status: 'active' | 'next' = 'active',
): Promise<Row> {
  const find = async () =>
    (await listRows(house)).filter(
      (row) => row.purpose === purpose && row.alg === alg && row.status === status,
    )
  let found = await find()
  const patience = AbortSignal.timeout(60_000)
  while (found.length === 0 && !patience.aborted) {
    await pause(20)
    found = await find()
    await house.deps.keys.refresh()
  }
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

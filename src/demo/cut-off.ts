/** What an administrator sees, and a relying app hears, when access is cut off. */
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import type { Story } from './print.ts'
import { type Admin, expect, type Json, type Scene } from './talk.ts'

/** The kill switch: everything that rests on this agent, for every user and at every relying app. */
export async function revoke(admin: Admin, agent_id: string): Promise<string> {
  const revocation = await admin('POST', '/revocations', { agent_id, reason: 'The demo is over' }, [
    'id',
    'delegations_revoked',
    'events_queued',
  ])
  expect(revocation.delegations_revoked === 1, 'not one delegation was ended')
  expect(revocation.events_queued === 1, 'there is not one event')
  return String(revocation.id)
}

/** Waits for the event about this user; the app has believed it by then. */
export async function hearEvent(story: Story, { issuer, app }: Scene, sub: string): Promise<void> {
  const isAbout = (jws: string) => decodeJwt(jws).sub === sub
  const event = await until(() => app.heard.find(isAbout))
  expect(event !== undefined, 'no event came')
  story.request('POST', app.eventsEndpoint, { 'content-type': 'application/secevent+jwt' })
  story.decoded('The event', event)
  expect(decodeJwt(event).iss === issuer, 'the event is of somebody else')
  story.answer(202)
}

/** The app has answered; that the server has written it down may take a moment. */
export async function readProof(admin: Admin, id: string): Promise<void> {
  const show = ['events', 'seconds_to_last_acknowledgement']
  const proof = await until(async () => {
    const revocation = await admin('GET', `/revocations/${id}`, undefined, show)
    return (revocation.events as Json).pending === 0 ? revocation : undefined
  })
  expect((proof?.events as Json | undefined)?.delivered === 1, 'the event was not delivered')
  const seconds = proof?.seconds_to_last_acknowledgement
  expect(typeof seconds === 'number', 'it is not known how long it took')
}

/** Milliseconds. */
const PATIENCE = { step: 100, longest: 20_000 }

async function until<Value>(
  look: () => Value | undefined | Promise<Value | undefined>,
): Promise<Value | undefined> {
  const end = Date.now() + PATIENCE.longest
  for (;;) {
    const found = await look()
    if (found !== undefined || Date.now() > end) return found
    await pause(PATIENCE.step)
  }
}

/** Agents that are told to stop and come again: each mints, is ended, is allowed once more, and mints. */

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { browser } from './browser.ts'
import { exchange } from './contestant-requests.ts'
import type { Contestant } from './contestants.ts'
import type { Storm } from './event-storm.ts'
import type { Answer } from './house.ts'

export type Returns = { minted: number; waited: number; ended: number; consented: number }

/** Milliseconds. */
const REST = 1_000

/** Until it is over. Every answer it does not expect is an error. */
export async function keepReturning(
  storm: Storm,
  of: Contestant,
  counted: Returns,
  over: () => boolean,
): Promise<void> {
  for (let rest = REST; !over(); ) {
    await pause(rest * (0.5 + Math.random()))
    rest = REST
    const answer = await storm.ask((at) => exchange(at, of))
    if (answer === undefined) continue
    if (answer.status === 200) {
      counted.minted++
      if (Math.random() < 0.7) await end(storm, of, counted)
    } else if (answer.status === 503) {
      counted.waited++
    } else {
      assert.equal(answer.body?.error, 'interaction_required', answer.text)
      if (Math.random() < 0.5) await consentByAdmin(storm, of)
      else await consentByUser(storm, of, answer)
      counted.consented++
      // The app may not have heard of the ending yet.
      rest = 0
    }
  }
}

/** Its mints go on meanwhile. */
async function end(storm: Storm, of: Contestant, counted: Returns): Promise<void> {
  const mints = Array.from({ length: 2 }, async () => {
    await pause(Math.random() * 20)
    return storm.ask((at) => exchange(at, of))
  })
  const { user_id, agent_id, audience_id } = of
  const query = new URLSearchParams({ user_id, agent_id, audience_id, status: 'active' })
  const listed = await storm.insist((at) => at.admin('GET', `/delegations?${query}`))
  for (const { id } of listed.body.data) {
    const { status, text } = await storm.insist((at) => at.admin('DELETE', `/delegations/${id}`))
    assert.equal(status, 204, text)
    counted.ended++
  }
  const answers = await Promise.all(mints)
  counted.minted += answers.filter((answer) => answer?.status === 200).length
}

async function consentByAdmin(storm: Storm, { user_id, agent_id, audience_id }: Contestant) {
  const body = { user_id, agent_id, audience_id, scopes: ['docs.read'], mode: 'always' }
  const { status, text } = await storm.insist((at) => at.admin('POST', '/delegations', body))
  assert.equal(status, 201, text)
}

/** On the page; whether it worked, the next exchange says. */
async function consentByUser(storm: Storm, of: Contestant, { body }: Answer): Promise<void> {
  await storm.ask(async (at) => {
    const user = browser(at)
    user.cookies.set('session', of.cookie)
    const page = await user.get(new URL(body.interaction_uri).pathname)
    if (page.status !== 200) return page
    return user.submit(page, { decision: 'allow', mode: 'always', scope: ['docs.read'] })
  })
}

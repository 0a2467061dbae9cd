import assert from 'node:assert/strict'
import type { House } from '../support/house.ts'
import { entitle, newAgent, type Story, type StoryAgent, tellStory } from '../support/story.ts'

export const ENDPOINT = 'https://chat.example/events'

export type Minted = Story & {
  delegation: string
  tokens: Awaited<ReturnType<Story['signIn']>>
}

type Options = { audience?: object; delegation?: object; agent?: object; tenant_id?: string }

/** What a house has told its audiences after somebody's ID-JAGs, and the hands that end things there. */
export function scenes(house: House) {
  const { db } = house.deps

  /** Somebody who allowed an agent something at an audience that listens, with an ID-JAG on the way there. */
  async function minted({ audience = {}, delegation = {}, agent = {}, tenant_id }: Options = {}) {
    const story = await tellStory(house, {
      agent,
      tenant_id,
      audience: { events_endpoint: ENDPOINT, ...audience },
    })
    const { id } = await story.delegate(delegation)
    const tokens = await story.signIn()
    await mint(story)
    return { ...story, delegation: id, tokens } satisfies Minted
  }

  async function mint(story: Story, as?: StoryAgent, id_token?: string): Promise<void> {
    const answer = await story.exchange(id_token ? { subject_token: id_token } : {}, as)
    assert.equal(answer.status, 200, answer.text)
  }

  /** Another agent of the same owner, allowed by the same user at the same audience. */
  async function sibling(
    story: Story,
  ): Promise<{ agent: StoryAgent; id: string; id_token: string }> {
    const agent = await newAgent(house, story.owner)
    await entitle(house, agent, story.audience, { client_id: 'sibling-at-paperclip' })
    const { id } = await story.delegate({ agent_id: agent.id })
    const { id_token } = await story.signIn(agent)
    return { agent, id, id_token }
  }

  const eventsAt = ({ audience }: Pick<Story, 'audience'>) =>
    db
      .selectFrom('event_deliveries')
      .selectAll()
      .where('audience_id', '=', audience.id)
      .orderBy('created_at')
      .orderBy('id')
      .execute()

  const arrive = (of: Pick<Story, 'audience'>, status: 'delivered' | 'failed' = 'delivered') =>
    db
      .updateTable('event_deliveries')
      .set({ status, [`${status}_at`]: house.clock.now, next_attempt_at: null })
      .where('status', '=', 'queued')
      .where('audience_id', '=', of.audience.id)
      .execute()

  async function act(method: string, path: string, body?: unknown) {
    const answer = await house.admin(method, path, body)
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.text}`)
    return answer.body
  }

  const revoke = (reach: object) => act('POST', '/revocations', { ...reach, reason: 'left' })

  return { minted, mint, sibling, eventsAt, arrive, act, revoke }
}

// The same with limits on requests: who is told to wait is told so in the same dialect, and the others are served.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { attack } from '../support/fuzz.ts'
import { judgeTokenRequest } from '../support/hostile-judge.ts'
import { anyRequest, writeRequest } from '../support/hostile-requests.ts'
import { openWorld } from '../support/hostile-world.ts'

const world = await openWorld({ after }, { RATE_LIMITS: 'on', ID_TOKEN_LIFETIME: '86400' })
const good = { base: 'by its key', edits: [], headers: [], noise: undefined, again: false }

test('whoever asks too often is told to wait, and whoever does not is served (CA-07, SE-15)', async () => {
  let served = 0
  await attack(
    anyRequest(world),
    async (of) => {
      // What a user may ask for in a minute is less than what is asked for here.
      world.house.wait(1)
      const { status, headers } = await judgeTokenRequest(world, await writeRequest(world, of))
      if (status === 429) assert.match(String(headers['retry-after']), /^\d+$/)
      if (status === 200) served += 1
    },
    0.1,
  )
  assert.ok(served > 0, 'nobody was served')
  const { status, text } = await judgeTokenRequest(world, await writeRequest(world, good))
  assert.equal(status, 200, text)
})

test('who fails to authenticate again and again is told to wait, in the same dialect (CA-07)', async () => {
  const edits = [{ do: 'set' as const, name: 'client_secret', text: 'wrong' }]
  const statuses: number[] = []
  for (let time = 0; time < 61; time += 1) {
    const request = await writeRequest(world, { ...good, base: 'by its secret', edits })
    statuses.push((await judgeTokenRequest(world, request)).status)
  }
  assert.equal(statuses.at(-1), 429)
  const { status, text } = await judgeTokenRequest(world, await writeRequest(world, good))
  assert.equal(status, 200, text)
})

// docs/revocation.md: its commands run as they stand there, and what it names is there.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startDelivering } from '../../src/events/keep-delivering.ts'
import { EventDelivery } from '../../src/events/schema.ts'
import { OutboundError, type OutboundReason } from '../../src/http/outbound-error.ts'
import { ADMIN_KEY } from '../support/house.ts'
import { openHttpHouse } from '../support/http-house.ts'
import { entitle, newAgent, tellStory } from '../support/story.ts'
import { openApp } from './apps.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const GUIDE = read('docs/revocation.md')

/** `admin` and `field`, as the README has them. */
const FUNCTIONS = /^admin\(\) \{[\s\S]*?^field\(\) .*$/m.exec(read('README.md'))?.[0] ?? ''

/** A server that delivers, whose agent has an ID-JAG of an app that will not take its first event. */
async function openWorld(t: TestContext) {
  const house = await openHttpHouse(t)
  const app = await openApp(t, 'access_denied')
  const story = await tellStory(house, { audience: { events_endpoint: 'https://a.example/' } })
  await story.delegate()
  const minted = await story.exchange()
  assert.equal(minted.status, 200, minted.text)
  const connection = { connectionString: house.deps.pool.options.connectionString }
  const worker = startDelivering(house.deps, { connection })
  t.after(() => worker.stop())
  return { house, story, app }
}

function run(script: string, variables: NodeJS.ProcessEnv) {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    env: { PATH: process.env.PATH, ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  let complaints = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    complaints += text
  })
  return new Promise<string>((done, fail) => {
    child.on('close', (code) =>
      code === 0 ? done(said) : fail(new Error(`${code}\n${said}\n${complaints}`)),
    )
  })
}

test('the commands of docs/revocation.md stop an agent, prove it, and send again what failed (EV-13)', async (t) => {
  const { house, story, app } = await openWorld(t)
  const written = [...GUIDE.matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block)
  assert.equal(written.length, 8)
  const blocks = written.map((block) =>
    block.replace('https://auth.calendar.example/events', app.url),
  )
  const at = (word: string) => blocks.findIndex((block) => block.includes(word))
  // What each block says is known by what stands before it.
  const script = (some: string[]) =>
    [FUNCTIONS, ...some.map((block, index) => `echo; echo '#${index}'\n${block}`)].join('\n')
  const variables = {
    ISSUER: house.config.issuer,
    KEY: ADMIN_KEY,
    USER_ID: story.user.id,
    AGENT_ID: story.agent.id,
    AUDIENCE: story.audience.issuer,
    AUDIENCE_ID: story.audience.id,
  }
  const withKey = (text: string) => text.replace('$(cat data/admin-api-key)', '$KEY')

  // Up to the list of what failed; then the app takes what it is sent.
  const resend = at('/retry')
  const first = blocks.slice(0, resend)
  const said = await run(withKey(script(first)), variables)
  const [patched, , proof, failed, list] = said.split(/^#\d\n/m).slice(1)
  assert.match(patched ?? '', new RegExp(`"events_endpoint":"${app.url}"`))
  const revocation = JSON.parse(proof ?? '')
  assert.deepEqual(
    [revocation.events_queued, revocation.agent_id, revocation.delegations_revoked],
    [1, story.agent.id, 1],
  )
  assert.equal(failed?.trim(), '1')
  const [delivery] = JSON.parse(list ?? '').data
  assert.equal(delivery.revocation_id, revocation.id)
  assert.deepEqual(delivery.last_answer, { status: 400, err: 'access_denied' })

  app.says(202)
  const REVOCATION_ID = revocation.id
  const again = [blocks[resend] ?? '', blocks[at('events.pending')] ?? '']
  const [resent, left] = (await run(withKey(script(again)), { ...variables, REVOCATION_ID }))
    .split(/^#\d\n/m)
    .slice(1)
  assert.equal(JSON.parse(resent ?? '').id, delivery.id)
  assert.equal(left?.trim(), '0')
  assert.equal(app.received.length, 2)

  const rest = blocks.slice(resend + 1)
  const [all, explained] = (await run(withKey(script(rest)), variables)).split(/^#\d\n/m).slice(1)
  assert.equal(all?.trim(), '', 'nothing is left to be sent again')
  assert.equal(JSON.parse(explained ?? '').granted, false)
})

test('all that failed at an app is sent again by the loop of docs/revocation.md (EV-13)', async (t) => {
  const { house, story, app } = await openWorld(t)
  const other = await newAgent(house, story.owner)
  await entitle(house, other, story.audience, { client_id: 'other-at-paperclip' })
  await house.admin('PATCH', `/audiences/${story.audience.id}`, {
    events_endpoint: app.url,
    event_names_agent: true,
  })
  await story.delegate({ agent_id: other.id })
  const { id_token } = await story.signIn(other)
  assert.equal((await story.exchange({ subject_token: id_token }, other)).status, 200)
  const stopped = await house.admin('POST', '/revocations', {
    user_id: story.user.id,
    reason: 'left',
  })
  assert.equal(stopped.body.events_queued, 2)
  const progress = async () => {
    const { body } = await house.admin('GET', `/revocations/${stopped.body.id}`)
    return body.events
  }
  while ((await progress()).failed < 2) await new Promise(setImmediate)
  app.says(202)
  const loop = [...GUIDE.matchAll(/^```bash\n(for [\s\S]*?)^```$/gm)].map(([, block = '']) => block)
  const script = `${FUNCTIONS}\n${loop[0]}`.replace('$(cat data/admin-api-key)', '$KEY')
  const variables = {
    ISSUER: house.config.issuer,
    KEY: ADMIN_KEY,
    AUDIENCE_ID: story.audience.id,
  }
  await run(script, variables)
  while ((await progress()).delivered < 2) await new Promise(setImmediate)
  assert.equal(app.received.length, 4)
})

/** The first cells of the rows of the table under this head. */
const cells = (head: string) =>
  (GUIDE.split(head)[1]?.split('\n\n')[0] ?? '')
    .split('\n')
    .slice(2)
    .map((row) => row.split('|')[1]?.trim() ?? '')
const quoted = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word)

test('docs/revocation.md names every metric and every line of the log that tells of events', () => {
  const source = (name: string) => read(`src/events/${name}.ts`)
  const metrics = [...source('watch-deliveries').matchAll(/name: '(\w+)'/g)].map(([, name]) => name)
  const named = cells('| Metric | Watch for |').flatMap(quoted)
  assert.deepEqual(named.map((metric) => metric.replace(/\{.*/, '')).sort(), metrics.sort())

  const lines = ['log-attempt', 'rounds', 'keep-delivering'].flatMap((name) =>
    [...source(name).matchAll(/'(event\.[a-z_]+)'/g)].map(([, line]) => line),
  )
  const told = cells('| `msg` | Level | |').flatMap(quoted)
  assert.deepEqual([...told, 'event.delivery_goes_on'].sort(), [...new Set(lines)].sort())
})

test('docs/revocation.md knows the causes and members of an event, and the words of the way out', () => {
  const causes = [
    ...read('src/revoke/tell.ts').matchAll(/^ {2}\| '(\w+)'$/gm),
    ...read('src/events/queue-for-key.ts').matchAll(/\bcause: '(\w+)'/g),
  ].map(([, one]) => one)
  const table = GUIDE.split('| What happens |')[1]?.split('\n\n')[0] ?? ''
  const named = table
    .split('\n')
    .slice(2)
    .flatMap((row) => quoted(row.split('|')[2] ?? ''))
  assert.deepEqual(named.filter((word) => word !== 'compromised_kid').sort(), causes.sort())

  const members = Object.keys(EventDelivery.properties)
  for (const word of ['attempts', 'last_answer', 'next_attempt_at', 'delivered_at']) {
    assert.ok(members.includes(word) && GUIDE.includes(`\`${word}\``), word)
  }
  const failures = cells('| `last_answer` | What we do | What you do |')
    .filter((cell) => cell.includes('`failure`'))
    .flatMap(quoted)
    .filter((word) => word !== 'failure')
  assert.ok(failures.length >= 9)
  const ours = [...read('src/events/deliver.ts').matchAll(/failure: '(\w+)'/g)].map(
    ([, one]) => one,
  )
  assert.deepEqual(
    failures.filter((failure) => ours.includes(failure)),
    ours,
  )
  for (const failure of failures.filter((one) => !ours.includes(one))) {
    const { message } = new OutboundError(failure as OutboundReason)
    assert.notEqual(message, 'undefined', failure)
    assert.notEqual(message, '', failure)
  }
})

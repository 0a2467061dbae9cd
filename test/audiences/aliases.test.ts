// By which names a request finds an audience (TX-05, TX-06): each means one audience of its tenant.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openHouse } from '../support/house.ts'
import { assertRefused } from '../support/refused.ts'

const house = await openHouse({ after })

let count = 0
const fresh = () => `https://auth-${++count}.chat.example`
const ask = (body: object = {}) =>
  house.admin('POST', '/audiences', {
    issuer: fresh(),
    name: 'Chat',
    profile: 'idjag',
    resources: [],
    ...body,
  })
const register = async (body: object = {}) => {
  const answer = await ask(body)
  assert.equal(answer.status, 201, answer.text)
  return answer.body
}
const patch = (id: string, body: object) => house.admin('PATCH', `/audiences/${id}`, body)
const aliasesOf = async (id: string) => (await house.admin('GET', `/audiences/${id}`)).body.aliases
const versionOf = async (id: string) =>
  (
    await house.deps.db.selectFrom('audiences').select('updated_at').where('id', '=', id).execute()
  )[0]?.updated_at

test('a patch puts its aliases in the place of those before, and leaves them where it names none', async () => {
  const { id } = await register({ aliases: ['urn:chat:one', 'urn:chat:two'] })
  const shown = async (body: object) => {
    const answer = await patch(id, body)
    assert.equal(answer.status, 200, answer.text)
    assert.deepEqual(await aliasesOf(id), answer.body.aliases)
    return answer.body.aliases
  }
  assert.deepEqual(await shown({ name: 'Chatter' }), ['urn:chat:one', 'urn:chat:two'])
  const before = await versionOf(id)
  house.wait(1)
  assert.deepEqual(await shown({ aliases: ['urn:chat:two', 'urn:chat:one'] }), [
    'urn:chat:one',
    'urn:chat:two',
  ])
  assert.deepEqual(await versionOf(id), before, 'the same names in another order change nothing')
  assert.deepEqual(await shown({ aliases: ['urn:chat:three', 'urn:chat:two'] }), [
    'urn:chat:three',
    'urn:chat:two',
  ])
  assert.deepEqual(
    await versionOf(id),
    house.clock.now,
    'whoever found it by an old name must notice',
  )
  const listed = (await house.admin('GET', '/audiences')).body.data
  assert.deepEqual(listed.find((one: { id: string }) => one.id === id).aliases, [
    'urn:chat:three',
    'urn:chat:two',
  ])
  assert.deepEqual(await shown({ aliases: null }), [])
  // What was given up is free.
  await register({ aliases: ['urn:chat:one'] })
  const events = await house.deps.db
    .selectFrom('audit_events')
    .select('detail')
    .where('audience_id', '=', id)
    .where('type', '=', 'audience.updated')
    .orderBy('id', 'desc')
    .execute()
  assert.deepEqual(events[0]?.detail, { changed: ['aliases'] })
})

test('an alias is one audience’s in its tenant, until that is retired', async () => {
  const { id } = await register({ aliases: ['urn:once:a', 'urn:once:b'] })
  const taken = { aliases: ['urn:once:free', 'urn:once:b'] }
  assertRefused(await ask(taken), 409, 'already_exists', '/aliases/1')
  const other = await register({ aliases: ['urn:once:other'] })
  assertRefused(await patch(other.id, taken), 409, 'already_exists', '/aliases/1')
  assert.deepEqual(await aliasesOf(other.id), ['urn:once:other'], 'nothing of it was done')
  const { body: tenant } = await house.admin('POST', '/tenants', { name: 'Elsewhere' })
  await register({ ...taken, tenant_id: tenant.id })

  await house.admin('POST', `/audiences/${id}/suspend`, {})
  assertRefused(await ask(taken), 409, 'already_exists', '/aliases/1')
  const retired = await house.admin('POST', `/audiences/${id}/retire`, {})
  assert.deepEqual(retired.body.aliases, [])
  await register(taken)
})

test('no alias is a way to write the issuer of another audience, and no issuer one to write an alias', async () => {
  const { id, issuer } = await register()
  for (const alias of [issuer, `${issuer}/`]) {
    assertRefused(await ask({ aliases: [alias] }), 409, 'already_exists', '/aliases/0')
    const other = await register()
    assertRefused(await patch(other.id, { aliases: [alias] }), 409, 'already_exists', '/aliases/0')
  }
  const [plain, slashed] = [fresh(), `${fresh()}/`]
  await register({ aliases: [plain, slashed] })
  for (const taken of [plain, `${plain}/`, slashed, slashed.slice(0, -1)]) {
    assertRefused(await ask({ issuer: taken }), 409, 'already_exists', '/issuer')
  }
  // Its own issuer written otherwise is no other audience, and a retired one stands in nobody's way.
  assert.equal((await patch(id, { aliases: [`${issuer}/`] })).status, 200)
  await house.admin('POST', `/audiences/${id}/retire`, {})
  await register({ aliases: [issuer] })
})

test('an alias is not our own issuer, and a patch is judged like a registration', async () => {
  const { id, issuer } = await register()
  for (const alias of ['http://localhost:4000', 'http://LOCALHOST:4000/', 'chat', issuer]) {
    assertRefused(await patch(id, { aliases: [alias] }), 422, 'validation_failed', '/aliases/0')
  }
})

test('of many who want one name at once, as alias or as issuer, one gets it', async () => {
  const winners = new Set<string>()
  for (let round = 0; round < 15; round += 1) {
    const name = fresh()
    const other = await register()
    const tries = [
      () => ask({ issuer: name }),
      () => ask({ aliases: [name] }),
      () => ask({ issuer: `${name}/`, aliases: [name] }),
      () => patch(other.id, { aliases: [name] }),
    ]
    const order = [...tries.slice(round % 4), ...tries.slice(0, round % 4)]
    const answers = await Promise.all(order.map((one) => one()))
    const statuses = answers.map(({ status }) => status)
    assert.deepEqual(
      statuses.filter((status) => status !== 409).map((status) => status - (status % 100)),
      [200],
      statuses.join(' '),
    )
    winners.add(String((statuses.findIndex((status) => status !== 409) + round) % 4))
  }
  assert.ok(winners.size > 1, 'the same one always won')
})

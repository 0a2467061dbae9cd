import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { ProblemError } from '../../src/http/problem.ts'
import { KEY_SLOTS, type KeySlot } from '../../src/keys/schedule.ts'
import { addSeconds, numericDate } from '../../src/oauth/numeric-date.ts'
import { openRings } from './rings.ts'
import { APPS, openApp, type Token } from './simulated-app.ts'

const ROTATIONS = 1000
const CEILING = 86_400
const MARGIN = 10
const HOUR = 3600
/** Seconds after which an event is given up. */
const PATIENCE = 72 * HOUR
const ID_TOKEN_LIFETIME = 6 * HOUR
const ID_JAG_LIFETIME = 300

/** By hand those whose keys are made in no time; RSA keys as often as the schedule wants it. */
const CHEAP = KEY_SLOTS.filter(({ alg }) => !['RS256', 'PS256'].includes(alg))
const TOKENS = KEY_SLOTS.filter(({ purpose }) => purpose !== 'seal')

type Minted = Token & { what: string; exp: number }
type Sent = Minted & { id: string }

// Months in a minute: the clock stands still but for `wait`, and each replica knows what it read last until that
// is a margin ago, as if it had not come to look since. Everything is by the seed but for the keys.
test('DS-29, TV-86: in a thousand rotations on three replicas no token fails at any relying app', async (t) => {
  const seed = Number(process.env.SEED ?? randomBytes(4).readUInt32BE())
  t.diagnostic(`SEED=${seed}`)
  const chance = chanceFrom(seed)
  const below = (most: number) => chance() * most
  const oneOf = <One>(all: readonly One[]) => all[Math.floor(below(all.length))] as One

  const house = await openRings(t, {
    ID_TOKEN_LIFETIME: `${ID_TOKEN_LIFETIME}`,
    KEY_ROTATION_INTERVAL: `${12 * 86_400}`,
  })
  const open = () => house.open({}, false)
  const rings = [await open(), await open(), await open()]
  /** For a while one of them may be asked for the key set and nothing else. */
  let quiet: (typeof rings)[number] | undefined
  const busy = () => rings.filter((ring) => ring !== quiet)
  const now = () => house.clock.now.getTime() / 1000
  const wait = (seconds: number) => house.wait(Math.max(0, seconds))
  const apps = APPS.map((caching) => openApp(caching, now, () => oneOf(rings).freshJwks()))

  const figures = {
    byHand: 0,
    scheduled: 0,
    tokens: 0,
    events: 0,
    late: 0,
    checks: 0,
    starts: 0,
    tooEarly: 0,
  }
  let tokens: Minted[] = []
  let events: Sent[] = []
  const retired = new Map<string, number>()

  const sign = async (slot: KeySlot, lifetime: number, what: string): Promise<Minted> => {
    const exp = now() + lifetime
    const claims = { iat: numericDate(house.clock.now), exp: Math.ceil(exp) }
    const { jws, kid } = await oneOf(busy()).sign(slot.purpose, slot.alg, what, claims)
    const since = retired.get(kid)
    if (since !== undefined) {
      figures.late += 1
      assert.ok(now() <= since + MARGIN, `SEED=${seed} signed by a key of ${now() - since} s ago`)
    }
    const [header, payload, signature = ''] = jws.split('.')
    const input = Buffer.from(`${header}.${payload}`)
    return { kid, input, signature: Buffer.from(signature, 'base64url'), what, exp }
  }
  const mint = async () => {
    const slot = oneOf(TOKENS)
    const longest = slot.purpose === 'id_token' ? ID_TOKEN_LIFETIME : ID_JAG_LIFETIME
    const lifetime = chance() < 0.3 ? longest : 60 + below(longest - 60)
    tokens.push(await sign(slot, lifetime, slot.purpose === 'id_token' ? 'jwt' : 'id-jag+jwt'))
    figures.tokens += 1
  }
  const queueEvent = async () => {
    const slot = oneOf(TOKENS.filter(({ purpose }) => purpose === 'id_jag'))
    const until = chance() < 0.1 ? PATIENCE : below(chance() < 0.5 ? PATIENCE : HOUR)
    const event = await sign(slot, until, 'secevent+jwt')
    const id = `dlv_${randomBytes(16).toString('base64url')}`
    events.push({ ...event, id })
    await house.db
      .insertInto('event_deliveries')
      .values(delivery(id, event.kid, house.clock.now))
      .execute()
    figures.events += 1
  }
  const endEvents = async () => {
    const [over, left] = [
      events.filter(({ exp }) => exp <= now()),
      events.filter(({ exp }) => exp > now()),
    ]
    events = left
    for (const { id, exp } of over) {
      const at = new Date(exp * 1000)
      const end =
        chance() < 0.8
          ? { status: 'delivered' as const, delivered_at: at }
          : { status: 'failed' as const, failed_at: at }
      await house.db
        .updateTable('event_deliveries')
        .set({ ...end, next_attempt_at: null })
        .where('id', '=', id)
        .execute()
    }
  }

  /** Everything that is not over verifies at everyone's. */
  const check = async () => {
    tokens = tokens.filter(({ exp }) => exp > now())
    for (const app of apps) {
      for (const token of [...tokens, ...events]) {
        const wrong = await app.refuses(token)
        if (wrong === undefined) continue
        const { status } = await house.db
          .selectFrom('signing_keys')
          .select('status')
          .where('kid', '=', token.kid)
          .executeTakeFirstOrThrow()
        assert.fail(
          `SEED=${seed} ${house.clock.now.toISOString()} ${token.what} by a key that is ${status}, at the app that fetches ${app.name}: ${wrong}`,
        )
      }
    }
    figures.checks += (tokens.length + events.length) * apps.length
  }
  const step = async (many = 4) => {
    await endEvents()
    for (const ring of busy()) if (chance() < 0.3) await ring.refresh()
    for (let count = 0; count < many; count++) await mint()
    if (chance() < 0.3) await queueEvent()
    await check()
  }
  const isSame = (one: KeySlot, other: { purpose: string; alg: string }) =>
    one.purpose === other.purpose && one.alg === other.alg
  const lookAt = (ring: (typeof rings)[number]) => {
    for (const { kid, retired_at } of ring.figures()) {
      if (retired_at) retired.set(kid, retired_at.getTime() / 1000)
    }
  }
  const keep = async () => {
    const ring = oneOf(busy())
    const before = await countRotations(house)
    await ring.refresh()
    await ring.keep()
    figures.scheduled += (await countRotations(house)) - before
    lookAt(ring)
  }
  const rotate = async (slot: KeySlot) => {
    const ring = oneOf(busy())
    try {
      await ring.rotate(slot)
      figures.byHand += 1
      lookAt(ring)
    } catch (error) {
      if (!(error instanceof ProblemError && error.code === 'too_early')) throw error
      figures.tooEarly += 1
    }
  }
  const readyTimes = async () => {
    const rows = await house.db
      .selectFrom('signing_keys')
      .select(['purpose', 'alg', 'published_at'])
      .where('status', '=', 'next')
      .execute()
    return rows
      .filter((row) => CHEAP.some((slot) => isSame(slot, row)))
      .map(({ published_at }) => addSeconds(published_at, CEILING).getTime() / 1000)
      .sort((a, b) => a - b)
  }

  let rounds = 0
  while (figures.byHand + figures.scheduled < ROTATIONS) {
    // Most of them may rotate again by then, to the very second for one of them.
    const ready = await readyTimes()
    const end = oneOf(ready.slice(ready.length / 2))
    for (let count = 0; count < 2; count++) {
      wait(below((end - now()) / 2))
      await rotate(oneOf(CHEAP))
      await step()
    }
    await keep()
    quiet = chance() < 0.5 ? oneOf(rings) : undefined
    if (++rounds % 20 === 0) {
      rings.splice(Math.floor(below(3)), 1, await open())
      figures.starts += 1
    }
    // Somebody looks just before, and knows nothing else for a margin.
    wait(end - now() - below(MARGIN))
    await step()
    wait(end - now())
    for (const slot of shuffled(CHEAP, chance)) {
      if (chance() < 0.15) continue
      await rotate(slot)
      if (chance() < 0.3) await step(1)
      if (chance() < 0.2) wait(below(2))
    }
    for (const most of [MARGIN, MARGIN, 60, 900]) {
      if (chance() < 0.3) oneOf(apps).forget()
      wait(below(most))
      await step()
    }
    await keep()
    await setImmediate()
  }

  assert.deepEqual(house.logs, [])
  const { byHand, scheduled } = figures
  const fetched = apps.map(({ figures }) => figures)
  t.diagnostic(JSON.stringify({ ...figures, apps: fetched }))
  assert.equal(byHand + scheduled, await countRotations(house))
  assert.ok(byHand >= 500 && scheduled >= 20 && figures.tooEarly >= 50)
  assert.ok(figures.tokens >= 3000 && figures.events >= 200 && figures.starts >= 2)
  // Replicas did lag, apps did keep what they had, and keys did go.
  assert.ok(figures.late >= 20, `${figures.late} tokens by keys that had retired`)
  for (const { verified, fetched: times } of fetched) assert.ok(verified > 20 * times)
  const removed = await house.db
    .selectFrom('signing_keys')
    .select('private_key')
    .where('status', '=', 'removed')
    .execute()
  assert.ok(removed.length >= ROTATIONS / 2)
  assert.ok(removed.every(({ private_key }) => private_key === null))
})

async function countRotations({ db }: Awaited<ReturnType<typeof openRings>>): Promise<number> {
  const { count } = await db
    .selectFrom('audit_events')
    .select((eb) => eb.fn.countAll<string>().as('count'))
    .where('type', '=', 'key.rotated')
    .executeTakeFirstOrThrow()
  return Number(count)
}

const delivery = (id: string, kid: string, now: Date) => ({
  id,
  kid,
  tenant_id: 'ten_1',
  audience_id: 'aud_1',
  user_id: 'usr_1',
  dialect: 'set' as const,
  endpoint: 'https://app.example/events',
  aud: 'https://app.example',
  sub: 'sub_1',
  event_type: 'session-revoked',
  jti: id,
  jws: 'kept by the test',
  next_attempt_at: now,
  created_at: now,
  expires_at: addSeconds(now, PATIENCE),
})

const shuffled = <One>(all: readonly One[], chance: () => number): One[] =>
  all
    .map((one) => ({ one, at: chance() }))
    .sort((a, b) => a.at - b.at)
    .map(({ one }) => one)

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function chanceFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

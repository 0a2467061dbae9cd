/**
 * What befalls servers while they tell relying apps of endings: they are killed and started again, and their
 * database connections are cut, at random; meanwhile hours pass for events that wait.
 */

import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import type { Fleet, Member } from './fleet.ts'
import type { Answer, Doors } from './house.ts'

export type Storm = {
  /** In milliseconds since 1970. */
  blows: number[]
  counted: { killed: number; cut: number; unanswered: number; unavailable: number }
  /** Kills, restarts and cuts until it is calmed; rejects when anything else goes wrong. */
  rage(): Promise<void>
  calm(): void
  /** Asks any server that is up, and another one where that does not help, until there is an answer. */
  insist(send: (at: Doors) => Promise<Answer>): Promise<Answer>
  /** Asks one server once. Undefined: it was struck, or could not reach its database. */
  ask(send: (at: Doors) => Promise<Answer>): Promise<Answer | undefined>
}

/** As the test calls its own connections. */
export const JUDGE = 'the judge'

/** Milliseconds between two blows. Servers live for longer than one takes to start, or nothing gets on. */
const LIFE = [1_500, 6_000] as const
const BETWEEN_CUTS = [2_000, 5_000] as const
const REST = 30

export function openStorm(fleet: Fleet, pool: pg.Pool): Storm {
  const blows: number[] = []
  const counted = { killed: 0, cut: 0, unanswered: 0, unavailable: 0 }
  let calmed = false

  const blow = () => blows.push(Date.now())
  const kill = async (member: Member) => {
    const struckAt = Date.now()
    blow()
    counted.killed++
    await fleet.kill(member, () => undefined)
    blow()
    await fleet.restart(member)
    return Date.now() - struckAt
  }
  const killing = async () => {
    while (!calmed) {
      const victims = Math.random() < 0.25 ? fleet.members : [fleet.any()]
      const lasted = await Promise.all(victims.map(kill))
      await pause(Math.max(between(LIFE), 2 * Math.max(...lasted)))
    }
  }
  const cutting = async () => {
    while (!calmed) {
      await pause(between(BETWEEN_CUTS))
      // One that starts would not.
      const names = fleet.members.filter(({ live }) => live).map(({ name }) => name)
      blow()
      const { rowCount } = await pool.query(CUT, [names])
      counted.cut += rowCount ?? 0
      blow()
    }
  }
  const ask: Storm['ask'] = async (send) => {
    while (!fleet.members.some(({ live }) => live)) await pause(REST)
    const member = fleet.any()
    const before = member.blows
    try {
      const answer = await send(member.doors)
      if (answer.status >= 500 && answer.status !== 503) {
        await pause(500)
        const logged = member.doors.output().match(/^.*"level":50.*$/gm) ?? []
        assert.fail(`${member.name}: ${answer.status} ${answer.text} ${logged.slice(-4)}`)
      }
      if (answer.status !== 503 || answer.body?.error) return answer
      counted.unavailable++
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
      if (member.live && member.blows === before) throw error
      counted.unanswered++
    }
    return undefined
  }
  return {
    blows,
    counted,
    ask,
    async rage() {
      await Promise.all([killing(), cutting()])
    },
    calm() {
      calmed = true
    },
    async insist(send) {
      for (;;) {
        const answer = await ask(send)
        if (answer && answer.status !== 503) return answer
        await pause(REST)
      }
    },
  }
}

const CUT = `select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and application_name = any($1)`

const between = ([least, most]: readonly [number, number]) => least + Math.random() * (most - least)

/**
 * The time of an event has come, whatever it waits for; but an attempt that is under way, or that nobody has
 * heard of since, keeps the time it may take. Returns how many wait still.
 */
export async function hasten(pool: pg.Pool): Promise<number> {
  await pool.query(HASTEN)
  const { rows } = await pool.query<{ waiting: number }>(
    `select count(*)::int as waiting from event_deliveries where status = 'queued'`,
  )
  return rows[0]?.waiting ?? 0
}

const HASTEN = `
  with waiting as (
    select id from event_deliveries
    where status = 'queued' and next_attempt_at > now()
      and not (next_attempt_at - last_attempt_at is not distinct from interval '15 seconds'
        and last_attempt_at > now() - interval '11 seconds')
    for update skip locked),
  hastened as (
    update event_deliveries event set next_attempt_at = now() from waiting where waiting.id = event.id
    returning event.id)
  select pg_notify('event_deliveries', '') from hastened limit 1`

/** Three days have passed for what these endpoints were sent and have not taken. */
export async function giveUp(pool: pg.Pool, endpoints: readonly string[]): Promise<void> {
  await pool.query(
    `with waiting as (
       select id from event_deliveries
       where status = 'queued' and endpoint = any($1) and last_answer is not null
       for update skip locked)
     update event_deliveries event
     set expires_at = created_at + interval '1 millisecond', next_attempt_at = now()
     from waiting where waiting.id = event.id`,
    [endpoints],
  )
}

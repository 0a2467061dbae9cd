/**
 * Replicas of one database and issuer behind a balancer, which sends nothing to one that is stopped or
 * dead, once it has noticed. What was on its way to such a one may be cut off; nothing else may fail.
 */

import assert from 'node:assert/strict'
import type { Answer, Doors } from './house.ts'
import { databaseSettings, freePort, type ServerProcess, startProcess } from './server-process.ts'

type Surroundings = { after(end: () => Promise<void>): void }

export type Member = {
  /** As the database knows its connections. */
  name: string
  doors: ServerProcess
  /** The balancer sends requests to it. */
  live: boolean
  /** Times that it was stopped or killed. */
  blows: number
  /** When it was last stopped or killed, and when it last went on, by `performance.now()`. */
  struckAt: number
  resumedAt: number
}

export type Fleet = {
  issuer: string
  members: readonly Member[]
  /** What became of requests that were cut off. */
  cut: string[]
  /** One that is live, and another than that given, if there is another. */
  any(but?: Member): Member
  /**
   * The answer of that replica; undefined if it was killed before it answered, or was stopped meanwhile for
   * longer than the database waits for a transaction, and says to ask again.
   * @throws when an undisturbed replica does not answer, or any of them fails.
   */
  ask(member: Member, send: (at: Doors) => Promise<Answer>): Promise<Answer | undefined>
  /** Freezes it. The balancer notices after what `before` sends to it. */
  stop(member: Member, before: () => void): void
  /** Lets it go on, with requests at once: what `before` sends has arrived by then. */
  resume(member: Member, before: () => void): void
  /** Ends it without a word, in the midst of what `before` sends. */
  kill(member: Member, before: () => void): Promise<void>
  restart(member: Member): Promise<void>
}

export async function openFleet(
  t: Surroundings,
  size: number,
  database: string,
  environment: Record<string, string>,
): Promise<Fleet> {
  const ports: number[] = []
  while (ports.length < size) ports.push(await freePort())
  const issuer = `http://localhost:${ports[0]}`
  const shared = { ...databaseSettings(), ISSUER: issuer, ...environment }
  const start = (name: string, port: number) => {
    const url = new URL(database)
    url.searchParams.set('application_name', name)
    return startProcess(t, { ...shared, DATABASE_URL: url.href, PORT: String(port) })
  }
  const members = await Promise.all(
    ports.map(async (port, index): Promise<Member> => {
      const name = `replica ${index + 1}`
      return {
        name,
        doors: await start(name, port),
        live: true,
        blows: 0,
        struckAt: 0,
        resumedAt: 0,
      }
    }),
  )
  const cut: string[] = []
  const strike = (member: Member, signal: NodeJS.Signals) => {
    member.blows++
    member.struckAt = performance.now()
    member.doors.child.kill(signal)
  }

  return {
    issuer,
    members,
    cut,
    any(but) {
      const live = members.filter((member) => member.live)
      const others = live.filter((member) => member !== but)
      const from = others.length > 0 ? others : live
      return from[Math.floor(Math.random() * from.length)] as Member
    },
    async ask(member, send) {
      const before = member.blows
      const undisturbed = () => member.live && member.blows === before
      try {
        const answer = await send(member.doors)
        if (answer.status < 500) return answer
        const mayFail = answer.status === 503 && !undisturbed()
        assert.ok(mayFail, `${member.name}: ${answer.status} ${answer.text}`)
        cut.push('503')
      } catch (error) {
        if (undisturbed() || error instanceof assert.AssertionError) throw error
        cut.push((error as NodeJS.ErrnoException).code ?? String(error))
      }
      return undefined
    },
    stop(member, before) {
      strike(member, 'SIGSTOP')
      before()
      member.live = false
    },
    resume(member, before) {
      before()
      member.resumedAt = performance.now()
      member.doors.child.kill('SIGCONT')
      member.live = true
    },
    async kill(member, before) {
      before()
      strike(member, 'SIGKILL')
      member.live = false
      await member.doors.kill()
    },
    async restart(member) {
      member.doors = await start(member.name, member.doors.port)
      member.live = true
    },
  }
}

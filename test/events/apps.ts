/** Relying apps on loopback that answer events as a test says, and an outbox that is told to try them. */

import http, { type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import type { Insertable } from 'kysely'
import type { Tables } from '../../src/db/tables.ts'
import { createOutbound } from '../../src/http/outbound.ts'
import { openOutbox, someEvents } from './outbox.ts'

/** A status, an error of RFC 8935, or whatever the test does with the answer. */
export type Reply = number | string | ((response: ServerResponse, body: string) => unknown)

export type App = Awaited<ReturnType<typeof openApp>>

/** Answers by the script, the last of which holds for all that come later. */
export async function openApp(t: { after(end: () => void): void }, ...script: Reply[]) {
  const received: { path: string; type: string; accept: string; body: string }[] = []
  const waiting: { times: number; go: () => void }[] = []
  const replies = [...script]
  const server = http.createServer(async (request, response) => {
    const body = await text(request)
    const { 'content-type': type = '', accept = '' } = request.headers
    received.push({ path: request.url ?? '', type, accept, body })
    const one = replies.length > 1 ? replies.shift() : replies[0]
    for (const { times, go } of waiting) if (received.length >= times) go()
    answer(response, one ?? 202, body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/events`,
    received,
    bodies: () => received.map(({ body }) => body),
    /** From now on. */
    says(...others: Reply[]) {
      replies.splice(0, replies.length, ...others)
    },
    /** Resolves once so many events have come. */
    got: (times: number) =>
      new Promise<void>((go) => {
        if (received.length >= times) go()
        else waiting.push({ times, go })
      }),
  }
}

function answer(response: ServerResponse, reply: Reply, body: string): void {
  if (typeof reply === 'function') reply(response, body)
  else if (typeof reply === 'number') response.writeHead(reply).end()
  else response.writeHead(400).end(JSON.stringify({ err: reply }))
}

/** Takes the event and goes away without a word. */
export const HANG_UP: Reply = (response) => response.socket?.destroy()

/** An outbox whose events go out; `app` also makes an audience that listens there. */
export async function openDelivery(
  t: Pick<TestContext, 'after'>,
  { timeoutMs = 10_000, allow = [] as string[] } = {},
) {
  const outbox = await openOutbox(t)
  const outbound = createOutbound({
    allow,
    allowLoopbackHttp: true,
    totalTimeoutMs: timeoutMs,
  })
  const deps = { ...outbox.deps, outbound }
  return {
    ...outbox,
    deps,
    async app(script: Reply[], audience: Partial<Insertable<Tables['audiences']>> = {}) {
      const app = await openApp(t, ...script)
      const parties = await outbox.parties({ events_endpoint: app.url, ...audience })
      return { ...app, ...parties }
    },
    /** Queues so many events for an audience, and returns the id of the first. */
    async tell(audience_id: string, count = 1): Promise<string> {
      const [first] = await outbox.queue(someEvents(audience_id, count))
      return first?.id ?? ''
    },
    row: (id: string) =>
      outbox.db
        .selectFrom('event_deliveries')
        .selectAll()
        .where('id', '=', id)
        .executeTakeFirstOrThrow(),
    async auditTypes(): Promise<string[]> {
      const events = await outbox.db
        .selectFrom('audit_events')
        .select('type')
        .where('type', 'like', 'event.%')
        .orderBy('id')
        .execute()
      return events.map(({ type }) => type)
    },
  }
}

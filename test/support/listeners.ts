/** Servers that count who comes, and what the guarded way out refuses. */
import assert from 'node:assert/strict'
import type net from 'node:net'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { OutboundError, type OutboundReason } from '../../src/http/outbound.ts'

export type Seen = { connections: number; port: number }

/** Starts a server on a loopback address and counts its connections, which end with the test. */
export async function listen(
  t: TestContext,
  server: net.Server,
  where: { host?: string; port?: number; ipv6Only?: boolean } = {},
): Promise<Seen> {
  const { host = '127.0.0.1', port = 0, ipv6Only = true } = where
  const seen = { connections: 0, port: 0 }
  const sockets = new Set<net.Socket>()
  server.on('connection', (socket) => {
    seen.connections += 1
    sockets.add(socket.on('error', () => {}))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen({ host, port, ipv6Only }, resolve)
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  seen.port = (server.address() as AddressInfo).port
  return seen
}

/** A look-up that answers from a list, and what it was asked for. */
export function namesOf(addresses: Record<string, string[]> = {}) {
  const asked: string[] = []
  const lookup = async (host: string) => {
    asked.push(host)
    return addresses[host] ?? []
  }
  return { asked, lookup }
}

export async function refused(
  work: Promise<unknown>,
  reason: OutboundReason,
  what?: string,
): Promise<OutboundError> {
  const error = await work.then(
    () => assert.fail(`expected ${reason}, got an answer${what ? `: ${what}` : ''}`),
    (error: unknown) => error,
  )
  assert.ok(error instanceof OutboundError, String(error))
  assert.equal(error.reason, reason, what)
  return error
}

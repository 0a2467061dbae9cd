import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { type Connection, poolConfig } from './pool.ts'

/** Milliseconds until a connection that was lost is made again. */
const PAUSE = 1_000

/**
 * Tells of each `notify` on a channel, on a connection of its own, made again whenever it is lost. What is said
 * meanwhile is lost too, so it tells once when it listens again; and nobody may rely on hearing of anything.
 */
export function listenOn(
  connection: Connection,
  channel: string,
  { heard, lost }: { heard: () => void; lost: (error: Error) => void },
): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const stopped = keepListening(connection, channel, { heard, lost }, stopping.signal)
  return {
    async stop() {
      stopping.abort()
      await stopped
    },
  }
}

async function keepListening(
  connection: Connection,
  channel: string,
  { heard, lost }: { heard: () => void; lost: (error: Error) => void },
  signal: AbortSignal,
): Promise<void> {
  let silent = false
  while (!signal.aborted) {
    const client = new pg.Client({
      ...poolConfig(connection),
      application_name: 'agent-idp listening',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    })
    try {
      await listen(client, channel, signal, () => {
        silent = false
        heard()
      })
    } catch (error) {
      // Once, not at every try.
      if (!silent && !signal.aborted) lost(error as Error)
      silent = true
    } finally {
      await client.end().catch(() => undefined)
    }
    await pause(PAUSE, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

/** Until it is lost or no longer wanted. @throws when it is lost */
async function listen(
  client: pg.Client,
  channel: string,
  signal: AbortSignal,
  heard: () => void,
): Promise<void> {
  const over = new Promise<void>((resolve, reject) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
    client.on('error', reject)
    client.on('end', () => reject(new Error('The connection was closed')))
  })
  // It may break before anybody waits for it.
  over.catch(() => undefined)
  client.on('notification', heard)
  await Promise.race([client.connect(), over])
  if (signal.aborted) return
  await Promise.race([client.query(`listen ${pg.escapeIdentifier(channel)}`), over])
  heard()
  await over
}

import { loadConfig } from './config.ts'
import { createLogger } from './http/logging.ts'
import { inWords } from './operator-words.ts'
import { type Server, startServer } from './start.ts'

/**
 * Milliseconds in which a stop is over, or cut off: Docker waits for ten seconds. Who does not answer is waited for
 * half as long (http/outbound.ts), so that there is time left to write that down.
 */
const LONGEST_STOP = 9_000

/** The server's life as a process: settings in, signals, an exit code. */
export async function run(): Promise<void> {
  try {
    const config = loadConfig(process.env, process.stdout.isTTY === true)
    const log = createLogger(config)
    const server = await startServer(config, log)
    log.info(
      { address: server.address, issuer: config.issuer, database: server.database },
      `agent-idp listens on ${server.address} as ${config.issuer}, with ${server.database}`,
    )
    let leaving = false
    const leaveOnce = (why: string, code: number) => {
      if (leaving) return
      leaving = true
      void leave(server, why, code)
    }
    // `on`, not `once`: without a listener the second signal would end the process on the spot.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => leaveOnce(signal, 0))
    }
    void server.died.then((error) => {
      log.fatal({ err: error }, 'the embedded database is gone')
      leaveOnce('database lost', 1)
    })
  } catch (error) {
    // In words, for the operator: a stack trace only where the fault is ours.
    const words = inWords(error) ?? (error as Error).stack ?? String(error)
    console.error(`agent-idp cannot start: ${words}`)
    process.exit(1)
  }
}

async function leave({ deps, stop }: Server, why: string, code: number): Promise<void> {
  deps.log.info({ why }, 'stopping: finishing what is under way')
  setTimeout(() => process.exit(1), LONGEST_STOP).unref()
  await stop()
  process.exit(code)
}

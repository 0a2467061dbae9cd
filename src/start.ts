import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { createApp } from './app.ts'
import { startRereading } from './audiences/reread.ts'
import { startSealer } from './audit/sealer.ts'
import { type Config, ConfigError } from './config.ts'
import { clockSkew } from './db/clock.ts'
import { type EmbeddedPostgres, startEmbedded } from './db/embedded.ts'
import { migrateToLatest } from './db/migrate.ts'
import { type Connection, openAside, openHotPool, openPool } from './db/pool.ts'
import type { Deps } from './deps.ts'
import { startDelivering } from './events/keep-delivering.ts'
import { startSharing } from './http/keep-sharing.ts'
import { createMetrics } from './http/metrics.ts'
import { createOutbound, parseAllowList } from './http/outbound.ts'
import type { Worker } from './http/repeatedly.ts'
import { createTally } from './http/tally.ts'
import { startKeepingSchedule } from './keys/keep-schedule.ts'
import { openCustody } from './keys/open-custody.ts'
import { openKeyRing } from './keys/open-key-ring.ts'
import { watchKeys } from './keys/watch-keys.ts'
import { startClearing } from './revoke/clear-key.ts'
import { startTellingExpired } from './revoke/tell-expired.ts'
import { completeSecrets } from './secrets.ts'
import { startPushing } from './streams/keep-pushing.ts'
import { startUpkeep } from './streams/upkeep.ts'
import { startTidying } from './tidy.ts'

export type Server = {
  app: FastifyInstance
  deps: Deps
  /** Where it listens, such as `http://127.0.0.1:4000`. */
  address: string
  /** Which database it uses, in words. */
  database: string
  /** Resolves when it cannot go on: the embedded database is gone for good. */
  died: Promise<Error>
  /** Takes no more requests, finishes what is under way, then lets go of everything. */
  stop(): Promise<void>
}

/** Oldest PostgreSQL that is supported: `server_version_num`. */
const OLDEST_POSTGRES = 150_000

/**
 * Builds what the doors need, in the order in which each part needs the one before, and listens.
 * @throws {ConfigError} or the part's own error, in words for the operator; what had been started is stopped.
 */
export async function startServer(settings: Config, log: Logger): Promise<Server> {
  const undo: (() => unknown)[] = []
  const leaving = new AbortController()
  const stop = async () => {
    leaving.abort()
    for (const step of undo.splice(0).reverse()) await step()
  }
  try {
    const allow = readAllowList(settings)
    // Before there is a database: one that is there already has to have its key.
    const config = await completeSecrets(settings, log)
    const embedded = settings.databaseUrl === undefined ? await embed(settings, log) : undefined
    if (embedded) undo.push(() => embedded.stop())
    const connection: Connection = embedded?.connection ?? (config.databaseUrl as string)
    const migrated = await migrateToLatest(config, embedded?.connection)
    if (migrated.length > 0)
      log.info({ migrations: migrated }, 'the database schema was brought up to date')

    const onIdleError = (error: Error) => {
      // A pool says goodbye without waiting: the database may end a session before it has heard that.
      if (!leaving.signal.aborted) log.warn({ err: error }, 'a database connection was lost')
    }
    const { pool, db } = openPool(connection, onIdleError)
    const hot = openHotPool(connection, onIdleError)
    // Who holds a connection may have to wait for the keys: those are read on another one.
    const aside = openAside(connection, onIdleError)
    undo.push(() => Promise.all([db.destroy(), hot.end(), aside.db.destroy()]))
    const version = await requireVersion(pool)

    const now = () => new Date()
    const custody = await openCustody(config)
    undo.push(() => custody.close())
    const readSkew = () => clockSkew({ db, now })
    const ground = { db, config, now, clockSkew: readSkew, log, custody }
    const keys = await openKeyRing({ ...ground, aside: aside.db })
    undo.push(() => keys.close())
    const outbound = createOutbound({
      allow,
      allowLoopbackHttp: config.allowLoopbackHttp,
      leaving: leaving.signal,
    })
    const metrics = createMetrics({ pool, hot })
    const tally = createTally({ pool, config, now })
    watchKeys(metrics.registry, { keys, now })
    const deps: Deps = { ...ground, pool, hot, keys, outbound, metrics, tally }

    const app = await createApp(deps)
    const workers: Worker[] = []
    // The door shuts at once. What came through it and what works by itself end side by side, and whatever they
    // stand on after them.
    undo.push(() => Promise.all([app.close(), ...workers.map((worker) => worker.stop())]))
    const address = await listen(app, config)
    const rereading = startRereading(deps)
    workers.push(
      startSealer(deps),
      startKeepingSchedule(deps),
      startClearing(deps),
      startTidying(deps),
      startTellingExpired(deps),
      startSharing(deps),
      rereading,
      startDelivering(deps, { connection, reread: rereading.reread }),
      startPushing(deps),
      startUpkeep(deps),
    )

    const database = embedded
      ? `embedded PostgreSQL ${version} in ${config.dataDir}`
      : `PostgreSQL ${version}`
    return { app, deps, address, database, died: embedded?.died ?? new Promise(() => {}), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function readAllowList({ outboundAllow }: Config): string[] {
  try {
    return parseAllowList(outboundAllow)
  } catch (error) {
    throw new ConfigError(`OUTBOUND_ALLOW: ${(error as Error).message}`)
  }
}

async function listen(app: FastifyInstance, { host, port }: Config): Promise<string> {
  try {
    return await app.listen({ host, port, listenTextResolver: () => 'listening' })
  } catch (error) {
    const why = (error as Error).message
    throw new ConfigError(
      `it cannot listen on ${host}, port ${port} (${why}): set HOST to an address of this machine and PORT to a free port, or stop what listens there`,
    )
  }
}

const embed = (config: Config, log: Logger): Promise<EmbeddedPostgres> =>
  startEmbedded({ dataDir: config.dataDir, log })

async function requireVersion(pool: Deps['pool']): Promise<string> {
  const { rows } = await pool.query<{ number: string; name: string }>(
    `select current_setting('server_version_num') as number, current_setting('server_version') as name`,
  )
  const [version] = rows
  if (Number(version?.number) < OLDEST_POSTGRES) {
    throw new ConfigError(`PostgreSQL 15 or newer is needed; the server is ${version?.name}`)
  }
  return version?.name.split(' ')[0] ?? ''
}

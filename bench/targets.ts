/** The servers measured beside each other: how each is started, filled, and reached. */
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import pg from 'pg'
import { enrol } from './agent-idp.ts'
import type { Fixture } from './fixture.ts'
import { newWorld, peerFixture, seedPeers } from './peers/world.ts'
import { type Server, startServer } from './processes.ts'
import { makeToken } from './soft-hsm.ts'

export const ROOT = path.resolve(import.meta.dirname, '..')
export const NAMES = [
  'ceiling',
  'agent-idp',
  'agent-idp-dpop',
  'agent-idp-pkcs11',
  'oidc-provider',
] as const
export type Name = (typeof NAMES)[number]
type Peer = 'ceiling' | 'oidc-provider'

export interface Target {
  name: Name
  /** Whether a replayed assertion has to be refused; of the ceiling that is not asked. */
  refusesReplay: boolean
  start(): Promise<Server>
  /** Fills its database; leaves nothing running. */
  seed(cases: number): Promise<Fixture>
}

export interface Place {
  /** A private folder for what servers need as files. */
  dir: string
  port: number
  databaseUrl: string
  verbose: boolean
}

export function targetOf(name: Name, place: Place): Target {
  return name === 'ceiling' || name === 'oidc-provider' ? peer(name, place) : agentIdp(name, place)
}

/** `npm start` with production's settings: the database and the secrets come from outside. */
function agentIdp(name: Exclude<Name, Peer>, place: Place): Target {
  const issuer = `http://127.0.0.1:${place.port}`
  const adminKey = randomBytes(32).toString('base64url')
  const env = {
    ...agentIdpAt(place.port, path.join(place.dir, name)),
    DATABASE_URL: place.databaseUrl,
    ADMIN_API_KEY: adminKey,
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    ...(name === 'agent-idp-pkcs11' && makeToken(path.join(place.dir, 'token'))),
  }
  const start = () => startAgentIdp(env, place.verbose)
  return {
    name,
    refusesReplay: true,
    start,
    async seed(cases) {
      const server = await start()
      try {
        return { ...(await enrol(issuer, adminKey, cases)), name, dpop: name === 'agent-idp-dpop' }
      } finally {
        await server.stop()
      }
    },
  }
}

/** What is common to agent-idp on a Postgres of its own and on the embedded one. */
export function agentIdpAt(port: number, dataDir: string): Record<string, string> {
  return {
    ISSUER: `http://127.0.0.1:${port}`,
    HOST: '127.0.0.1',
    PORT: String(port),
    DATA_DIR: dataDir,
    RATE_LIMITS: 'off',
    ID_TOKEN_LIFETIME: '7200', // the fixture's ID tokens have to last for the whole run
    LOG_FORMAT: 'json',
  }
}

export function startAgentIdp(env: Record<string, string>, verbose: boolean): Promise<Server> {
  const main = path.join(ROOT, 'src/main.ts')
  return startServer({ args: [main], cwd: ROOT, env, readyUrl: `${env.ISSUER}/readyz`, verbose })
}

function peer(name: Peer, place: Place): Target {
  const issuer = `http://127.0.0.1:${place.port}`
  const worldFile = path.join(place.dir, `${name}.json`)
  const env = {
    ISSUER: issuer,
    PORT: String(place.port),
    DATABASE_URL: place.databaseUrl,
    WORLD_FILE: worldFile,
  }
  return {
    name,
    refusesReplay: name !== 'ceiling',
    start: () =>
      startServer({
        args: [path.join(import.meta.dirname, `peers/${name}.ts`)],
        cwd: import.meta.dirname,
        env,
        readyUrl: `${issuer}/jwks`,
        verbose: place.verbose,
      }),
    async seed(cases) {
      const world = newWorld(cases)
      fs.writeFileSync(worldFile, JSON.stringify(world), { mode: 0o600 })
      const db = new pg.Client({ connectionString: place.databaseUrl })
      await db.connect()
      try {
        await seedPeers(db, world)
      } finally {
        await db.end()
      }
      return peerFixture(name, issuer, world)
    },
  }
}

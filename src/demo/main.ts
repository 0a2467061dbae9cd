/**
 * `npm run demo`: the server, a relying app beside it, and the story of one ID-JAG from enrolment to its
 * refusal. `--once` ends there; otherwise both stay up, so that one can look around.
 */
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type Config, ConfigError, loadConfig } from '../config.ts'
import { createLogger } from '../http/logging.ts'
import { type Server, startServer } from '../start.ts'
import { createStory } from './print.ts'
import { type RelyingApp, startRelyingApp } from './relying-app.ts'
import { StepFailed } from './talk.ts'
import { walk } from './walk.ts'

const USUAL = { server: 4000, app: 4100 }
/** Errors whose message is written for the operator. */
const IN_WORDS = new Set(['ConfigError', 'EmbeddedPostgresError', 'KeyEncryptionError'])
/** Milliseconds that stopping may take. */
const LONGEST_STOP = 15_000

const story = createStory((line) => console.log(line))
const running: { server?: Server; app?: RelyingApp } = {}
let leaving: Promise<never> | undefined

try {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void leave(0))
  await run(values.once)
} catch (error) {
  // Whoever stops the demo also breaks off what it was doing: that is no fault.
  if (!leaving) console.error(`\n${describe(error)}`)
  await leave(1)
}

async function run(once: boolean): Promise<void> {
  const config = await configure(process.env)
  story.line(`Starting agent-idp as ${config.issuer}. The first start makes its database.`)
  const server = await startServer(config, createLogger(config))
  running.server = server
  void server.died.then((error) => {
    console.error(`\nThe database is gone: ${error.message}`)
    return leave(1)
  })
  const app = await startRelyingApp({ trusts: config.issuer, port: await appPort(process.env) })
  running.app = app
  story.line(`It runs with ${server.database}; beside it, the relying app ${app.issuer}.`)

  const adminKey = server.deps.config.adminApiKey ?? ''
  const { user, question } = await walk(story, { issuer: config.issuer, adminKey, app })
  story.line()
  story.line('Every step did what it should.')
  if (once) return leave(0)
  for (const line of whereToLook(config, app, user, question)) story.line(line)
}

function whereToLook(
  config: Config,
  app: RelyingApp,
  user: { email: string; password: string },
  question: string,
): string[] {
  const { issuer } = config
  const keyFile = resolve(join(config.dataDir, 'admin-api-key'))
  return [
    '',
    'Both servers stay up. Look around:',
    `   ${question}`,
    '      what the agent asks, waiting for the answer of the user (ten minutes)',
    `   ${issuer}/account`,
    '      the agents that act for the user, and a button that stops each',
    `   ${issuer}/docs`,
    '      every call, with its shapes',
    `   ${issuer}/.well-known/oauth-authorization-server`,
    '      all that a relying app needs to know',
    `   ${app.issuer}/.well-known/oauth-authorization-server`,
    '      the same of the relying app',
    '',
    `Sign in as ${user.email} with the password ${user.password}`,
    config.adminApiKey === undefined
      ? `The key of the admin API is in ${keyFile}`
      : 'The key of the admin API is the one in ADMIN_API_KEY',
    '',
    'Ctrl-C stops both.',
  ]
}

/** The server's own settings, less talkative, and on a free port where none was asked for. */
async function configure(given: NodeJS.ProcessEnv): Promise<Config> {
  const env: NodeJS.ProcessEnv = { ...given, LOG_LEVEL: given.LOG_LEVEL || 'warn' }
  if (!env.ISSUER) {
    const wanted = env.PORT ? Number(env.PORT) : undefined
    const port = wanted || (await freePort(wanted ?? USUAL.server))
    if (wanted === undefined && port !== USUAL.server) {
      story.line(
        `Port ${USUAL.server} is taken, so the demo takes ${port}. Set ISSUER to choose another.`,
      )
    }
    env.ISSUER = `http://localhost:${port}`
    env.PORT = String(port)
  }
  const config = loadConfig(env, process.stdout.isTTY === true)
  if (new URL(config.issuer).protocol !== 'http:') {
    throw new ConfigError(
      'the demo walks through its own pages and ends no TLS: ISSUER must be http on loopback, such as http://localhost:4000',
    )
  }
  return config
}

async function appPort(env: NodeJS.ProcessEnv): Promise<number> {
  const wanted = env.DEMO_APP_PORT
  if (!wanted) return freePort(USUAL.app)
  if (/^\d+$/.test(wanted) && Number(wanted) <= 65_535) return Number(wanted)
  throw new ConfigError('DEMO_APP_PORT must be a number from 0 to 65535')
}

/** The port itself if nothing listens there on loopback, else any that is free. */
async function freePort(wanted: number): Promise<number> {
  const free = await Promise.all(['127.0.0.1', '::1'].map((host) => tryPort(host, wanted)))
  if (wanted !== 0 && !free.includes(undefined)) return wanted
  return (await tryPort('127.0.0.1', 0)) ?? wanted
}

/** The port that was had for a moment; undefined if it is taken. Without IPv6 nothing is taken there. */
function tryPort(host: string, port: number): Promise<number | undefined> {
  const { promise, resolve: settle } = Promise.withResolvers<number | undefined>()
  const probe = createServer()
  probe.once('error', ({ code }: NodeJS.ErrnoException) =>
    settle(code === 'EADDRINUSE' || code === 'EACCES' ? undefined : port),
  )
  probe.listen({ host, port, exclusive: true }, () => {
    const address = probe.address()
    probe.close(() => settle(typeof address === 'object' ? address?.port : port))
  })
  return promise
}

/** The first reason counts: under npm one Ctrl-C arrives twice, from the terminal and from npm. */
function leave(code: number): Promise<never> {
  leaving ??= stop(code)
  return leaving
}

async function stop(code: number): Promise<never> {
  setTimeout(() => process.exit(1), LONGEST_STOP).unref()
  const { app, server } = running
  await app?.stop()
  await server?.stop()
  process.exit(code)
}

function describe(error: unknown): string {
  const { code, name, message, stack } = error as NodeJS.ErrnoException
  if (story.current() !== '') {
    const why = error instanceof StepFailed ? message : (stack ?? String(error))
    return `Failed at step ${story.current()}\n   ${why}`
  }
  // The server has words of its own for it; here a port is set by ISSUER.
  if (code === 'EADDRINUSE' || message.includes('EADDRINUSE')) {
    return `The demo cannot start: ${message}. Choose free ports: ISSUER=http://localhost:4001 DEMO_APP_PORT=4101 npm run demo`
  }
  const known = IN_WORDS.has(name)
  const asked = code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION'
  if (asked) return `${message}\nUsage: npm run demo [-- --once]`
  return `The demo cannot start: ${known ? message : (stack ?? String(error))}`
}

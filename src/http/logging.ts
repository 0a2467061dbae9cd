/**
 * What the server says about itself, one JSON object a line.
 *
 *  1. A request is one line, at its end. It names the path without the query, which carries codes and state.
 *  2. Bodies and headers are not logged; where something else logs an object with headers in it, those that
 *     carry credentials are blanked.
 *  3. Of an error come its name, message, code, constraint and where it was thrown: never what PostgreSQL adds
 *     in `detail`, never a message that quotes its input, never anything shaped like a token.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import pretty from 'pino-pretty'
import { serializeError } from './error-log.ts'
import type { Metrics } from './metrics.ts'

const CREDENTIALS = ['authorization', 'cookie', 'set-cookie', 'dpop', 'proxy-authorization']
const BLANKED = CREDENTIALS.flatMap((name) => [
  `headers["${name}"]`,
  `req.headers["${name}"]`,
  `res.headers["${name}"]`,
])

/** Asked for by machines every few seconds. */
const QUIET = new Set(['/livez', '/readyz', '/metrics'])

/** `destination` is standard output unless a test listens. */
export function createLogger(
  { logLevel, logFormat }: { logLevel: string; logFormat: 'json' | 'pretty' },
  destination?: DestinationStream,
): Logger {
  const options: LoggerOptions = {
    level: logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: [...BLANKED, 'body', 'req.body', 'request.body'], censor: '[redacted]' },
    serializers: {
      req: describeRequest,
      err: serializeError,
      error: serializeError,
      cause: serializeError,
    },
    hooks: {
      // An error without words of ours would lend its message to the line.
      logMethod(args, method) {
        const [first, words] = args as [unknown, unknown]
        const named = first instanceof Error ? { err: first } : first
        const bare = words === undefined && typeof named === 'object' && named !== null
        if (first instanceof Error || (bare && 'err' in named)) {
          args.splice(0, 2, ...([named, words ?? 'something failed'] as unknown as typeof args))
        }
        method.apply(this, args)
      },
    },
  }
  const out =
    logFormat === 'pretty'
      ? pretty({ sync: true, ...(destination && { destination }) })
      : // No request waits for its line to be written; what is not, is flushed when the process exits.
        (destination ?? pino.destination({ sync: false }))
  return pino(options, out)
}

/** Fastify's own lines are off (`disableRequestLogging`): this is the one, and the request's measure. */
export function observeRequests(app: FastifyInstance, metrics: Pick<Metrics, 'answered'>): void {
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none'
    metrics.answered(request.method, route, reply.statusCode, reply.elapsedTime / 1000)
    const level = QUIET.has(route) ? 'debug' : 'info'
    request.log[level](describeAnswer(request, reply, route), 'request')
    done()
  })
}

const describeAnswer = (request: FastifyRequest, reply: FastifyReply, route: string) => ({
  method: request.method,
  route,
  path: pathOf(request.url),
  status: reply.statusCode,
  ms: Math.round(reply.elapsedTime * 10) / 10,
})

/** Wherever somebody logs a request: method and path. */
const describeRequest = (request: { method?: string; url?: string } | undefined) => ({
  method: request?.method,
  path: pathOf(request?.url ?? ''),
})

/** Without the subject of an issuer, which is somebody's address at some. */
const pathOf = (url: string) =>
  url
    .split(/[?#]/, 1)[0]
    ?.replace(/(\/trusted-issuers\/[^/]*\/accounts\/).*/, '$1-')
    .slice(0, 500)

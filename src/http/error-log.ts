import type { FastifyRequest } from 'fastify'

/** An error as it may stand in a log. */
export type LoggedError = {
  name: string
  message: string
  code?: string
  constraint?: string
  stack?: string
  cause?: LoggedError
}

type Failure = { status: number; code?: string; cause?: unknown; error: unknown }

/**
 * One line for an answer that says that we failed. A 503 that nothing caused is none: whoever was told to come
 * back later was told what is so, and may ask as often as it likes.
 */
export function logFailure(
  { log }: Pick<FastifyRequest, 'log'>,
  { status, code, cause, error }: Failure,
): void {
  if (status < 500) return
  if (status === 503 && cause === undefined) {
    const why = error instanceof Error ? error.message : undefined
    log.info({ refusal: code, why }, 'asked to come back later')
  } else log.error({ err: cause ?? error }, 'request failed')
}

/** Causes are followed so far. */
const DEEPEST = 4

/** Picks what tells the operator what happened, and leaves what may quote a request. */
export function serializeError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { name: typeof error, message: 'not an error' }
  const { code, constraint } = error as { code?: unknown; constraint?: unknown }
  const stack = framesOf(error.stack)
  const logged: LoggedError = {
    name: error.name,
    message: quotesInput(error)
      ? 'not shown, for it quotes what was given'
      : blankTokens(error.message),
    ...(typeof code === 'string' && { code }),
    ...(typeof constraint === 'string' && { constraint }),
    ...(stack && { stack }),
  }
  if (error.cause !== undefined && depth < DEEPEST) {
    logged.cause = serializeError(error.cause, depth + 1)
  }
  return logged
}

/** PostgreSQL's data exceptions (class 22) and parsers name the value they stumbled over. */
function quotesInput(error: Error): boolean {
  const { code } = error as { code?: unknown }
  return error instanceof SyntaxError || (typeof code === 'string' && /^22[0-9A-Z]{3}$/.test(code))
}

/** Three parts of base64url, the first a JSON object, or any long run of random characters. */
const blankTokens = (text: string) =>
  text
    .replace(/eyJ[\w-]+\.[\w-]+(\.[\w-]*)?/g, '[token]')
    .replace(/(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{40,}/g, '[redacted]')

/** The first lines repeat the message. */
const framesOf = (stack: string | undefined) =>
  stack
    ?.split('\n')
    .filter((line) => line.startsWith('    at '))
    .map((line) => line.trim())
    .join('\n')

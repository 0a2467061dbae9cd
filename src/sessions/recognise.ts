import type { FastifyRequest } from 'fastify'
import type { Deps } from '../deps.ts'
import { SignInNeeded } from '../http/page-error.ts'
import { readSessionToken } from '../http/user-door.ts'
import { hashSecret } from '../oauth/secret.ts'
import { findLiveSession } from './queries.ts'

/** Who sits at the browser: the live session, with the user's name and address for the page. */
export type LiveSession = NonNullable<Awaited<ReturnType<typeof findLiveSession>>>

/** The session of the request's cookie: not ended, not expired, of an active user and tenant. */
export async function recogniseSession(
  deps: Deps,
  request: FastifyRequest,
): Promise<LiveSession | undefined> {
  const token = readSessionToken(deps, request)
  return token === undefined ? undefined : findLiveSession(deps.db, hashSecret(token), deps.now())
}

/**
 * The same, for a page that is for signed-in users alone.
 * @throws {SignInNeeded} the door then sends the browser to the sign-in page, and back here afterwards.
 */
export async function requireSession(deps: Deps, request: FastifyRequest): Promise<LiveSession> {
  const session = await recogniseSession(deps, request)
  if (session) return session
  throw new SignInNeeded(request.method === 'GET' ? request.url : pathOf(request.url))
}

/** A form's address: the page with the form has the same one. */
const pathOf = (url: string) => url.split('?')[0] ?? '/'

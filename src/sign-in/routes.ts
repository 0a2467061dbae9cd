/**
 * How a user proves who they are, and how they leave. The session that begins here is kept by sessions/;
 * what the browser came for is told by `return_to`, a path of this server and nothing else (SE-02).
 */

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Deps } from '../deps.ts'
import { type FormFields, readQuery } from '../http/form.ts'
import { sendPage } from '../http/page.ts'
import { PageError } from '../http/page-error.ts'
import { readReturnTo } from '../http/return-to.ts'
import {
  clearSessionToken,
  csrfField,
  readSessionToken,
  requireCsrf,
  setSessionToken,
} from '../http/user-door.ts'
import { hostOf } from '../oauth/uri.ts'
import { recogniseSession } from '../sessions/recognise.ts'
import { TooBusy } from '../users/password.ts'
import { findAsking } from './asking.ts'
import { signInByPassword } from './by-password.ts'
import { createSignInLimits } from './limits.ts'
import { signedOutPage, signInPage, signOutPage } from './pages.ts'
import { isHintOf, signOut, signOutEverywhere } from './sign-out.ts'

const HOME = '/account'
const WRONG = 'The e-mail address or the password is wrong.'
const TAGS = ['pages']
const FORM = ['application/x-www-form-urlencoded']

export const signInRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const limits = createSignInLimits(deps)
  const host = hostOf(deps.config.issuer)

  app.get(
    '/sign-in',
    {
      schema: {
        summary: 'The sign-in page',
        description:
          'Leads to `return_to`, a path of this server, at once where the browser is signed in; `prompt=login` asks all the same. `login_hint` fills in the address.',
        tags: TAGS,
      },
    },
    async (request, reply) => {
      const query = readQuery(request.url)
      const session = await recogniseSession(deps, request)
      const return_to = readReturnTo(query.return_to)
      if (session && query.prompt !== 'login') return reply.redirect(return_to ?? HOME, 303)
      const email = text(query.login_hint)
      const asking = await findAsking(deps, return_to)
      const csrf = csrfField(deps, request, reply)
      const again = session !== undefined
      return sendPage(reply, signInPage({ csrf, host, return_to, email, asking, again }))
    },
  )

  app.post(
    '/sign-in',
    {
      schema: {
        summary: 'Sign in with e-mail and password',
        description:
          'Fields `email`, `password`, `return_to`. A wrong password is 403 and too many tries are 429, with the form again. Takes the form of the page alone: with its hidden `csrf` and the cookie of the same browser, or 403.',
        tags: TAGS,
        consumes: FORM,
      },
    },
    async (request, reply) => {
      requireCsrf(deps, request)
      const fields = request.body as FormFields
      const email = text(fields.email)
      const password = text(fields.password)
      const return_to = readReturnTo(fields.return_to)
      const refuse = async (words: string, status: number) => {
        const asking = await findAsking(deps, return_to)
        const csrf = csrfField(deps, request, reply)
        const form = { csrf, host, return_to, email, asking, again: fields.prompt === 'login' }
        return sendPage(reply, signInPage(form, { text: words, status }))
      }
      if (!email || !password) return refuse('Enter your e-mail address and your password.', 400)
      const result = await signInByPassword(deps, limits, {
        email,
        password,
        address: request.ip,
        cookie: readSessionToken(deps, request),
        request_id: request.id,
      }).catch(asPage)
      if (result.signedIn) {
        setSessionToken(deps, reply, result.token)
        // 303: the browser must not send the password on (SE-03).
        return reply.redirect(return_to ?? HOME, 303)
      }
      if (result.why === 'wrong') return refuse(WRONG, 403)
      reply.header('retry-after', String(result.retryAfter))
      return refuse('Too many tries. Wait a while before you try again.', 429)
    },
  )

  const leave = async (request: FastifyRequest, reply: FastifyReply) => {
    const session = await recogniseSession(deps, request)
    if (session) await signOut(deps, session, request.id)
    clearSessionToken(deps, reply)
    return reply.redirect('/oauth2/logout', 303)
  }

  app.post(
    '/sign-out',
    {
      schema: {
        summary: 'End the session',
        description:
          'Ends the sessions of this browser and what agents hold of them; agents that may go on while the user is signed out do. Takes the form of the page alone: with its hidden `csrf` and the cookie of the same browser, or 403.',
        tags: TAGS,
        consumes: FORM,
      },
    },
    async (request, reply) => {
      requireCsrf(deps, request)
      return leave(request, reply)
    },
  )

  app.post(
    '/sign-out/everywhere',
    {
      schema: {
        summary: 'End all sessions of the user',
        description:
          'The same in every browser, wherever the user is signed in. Takes the form of the page alone: with its hidden `csrf` and the cookie of the same browser, or 403.',
        tags: TAGS,
        consumes: FORM,
      },
    },
    async (request, reply) => {
      requireCsrf(deps, request)
      const session = await recogniseSession(deps, request)
      if (session) await signOutEverywhere(deps, session, request.id)
      clearSessionToken(deps, reply)
      return reply.redirect('/oauth2/logout', 303)
    },
  )

  // OP-29. Where to go afterwards cannot be registered, so `post_logout_redirect_uri` leads nowhere.
  app.get(
    '/oauth2/logout',
    {
      schema: {
        summary: 'RP-initiated logout',
        description:
          'Asks the user first, unless `id_token_hint` is an ID token of this very session. Leads nowhere afterwards: `post_logout_redirect_uri` is not taken.',
        tags: TAGS,
      },
    },
    async (request, reply) => {
      const session = await recogniseSession(deps, request)
      if (!session) return sendPage(reply, signedOutPage)
      const { id_token_hint } = readQuery(request.url)
      if (await isHintOf(deps, session, id_token_hint)) return leave(request, reply)
      return sendPage(reply, signOutPage(csrfField(deps, request, reply), session))
    },
  )

  app.post(
    '/oauth2/logout',
    {
      schema: {
        summary: 'RP-initiated logout, by form',
        description: 'The same with the members in a form; also the answer of the page that asks.',
        tags: TAGS,
        consumes: FORM,
      },
    },
    async (request, reply) => {
      const { csrf, id_token_hint } = (request.body ?? {}) as FormFields
      if (csrf !== undefined) {
        requireCsrf(deps, request)
        return leave(request, reply)
      }
      const session = await recogniseSession(deps, request)
      if (session && (await isHintOf(deps, session, id_token_hint))) return leave(request, reply)
      // A form from another site comes without our cookie; as a GET the browser sends it along.
      return reply.redirect('/oauth2/logout', 303)
    },
  )
}

const text = (field: string | string[] | undefined) =>
  typeof field === 'string' ? field : undefined

function asPage(error: unknown): never {
  if (!(error instanceof TooBusy)) throw error
  throw new PageError(
    503,
    'Too busy right now',
    'Many people are signing in. Try again in a moment.',
    {
      retryAfter: 5,
      cause: error,
    },
  )
}

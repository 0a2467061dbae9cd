import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Deps } from '../deps.ts'
import { type FormFields, parseForm, readQuery, writeForm } from '../http/form.ts'
import { sendPage } from '../http/page.ts'
import { PageError } from '../http/page-error.ts'
import { csrfField, readSessionToken, requireCsrf } from '../http/user-door.ts'
import { recogniseSession } from '../sessions/recognise.ts'
import { authorize } from './authorize.ts'
import { confirmPage } from './pages.ts'
import { AuthorizationParameters } from './schema.ts'

const PATH = '/oauth2/authorize'
const TAGS = ['pages']
const FORM = ['application/x-www-form-urlencoded']
/** Longest address that we send a browser to ourselves: header limits of servers begin beyond. */
const LONGEST = 12 * 1024

/** A schema for the API reference alone. */
const unchecked = () => () => true

/** The authorization endpoint, RFC 6749 §3.1: by GET or by form (OIDC Core §3.1.2.1). */
export const authorizeRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  const answer = async (
    request: FastifyRequest,
    reply: FastifyReply,
    fields: FormFields,
    decision?: 'allow' | 'deny',
  ) => {
    const session = await recogniseSession(deps, request)
    const next = await authorize(deps, {
      fields,
      session,
      decision,
      request_id: request.id,
      address: request.ip,
    })
    switch (next.step) {
      case 'redirect':
        return reply.redirect(next.uri, 303)
      case 'sign_in': {
        const target = new URLSearchParams({ return_to: `${PATH}?${writeForm(next.fields)}` })
        if (next.again) target.set('prompt', 'login')
        if (next.login_hint) target.set('login_hint', next.login_hint)
        return reply.redirect(shortEnough(`/sign-in?${target}`), 303)
      }
      case 'confirm': {
        const { client, scope } = next
        const csrf = csrfField(deps, request, reply)
        const user = { name: session?.name ?? null, email: session?.email ?? null }
        const query = writeForm(fields)
        return sendPage(reply, confirmPage({ csrf, query, client: client.name, scope, user }))
      }
    }
  }

  app.get(
    PATH,
    {
      schema: {
        summary: 'Authorization request',
        description:
          'Code flow with PKCE (RFC 6749 §4.1, OpenID Connect Core §3.1). The browser is sent to sign in where it has to, then back to `redirect_uri` with `code`, `state` and `iss`, or with `error`. A page says what is wrong where nobody may be sent there.',
        tags: TAGS,
        querystring: AuthorizationParameters,
      },
      validatorCompiler: unchecked,
    },
    (request, reply) => answer(request, reply, readQuery(request.url)),
  )

  app.post(
    PATH,
    {
      schema: {
        summary: 'Authorization request, by form',
        description: 'The same with its members in a form.',
        tags: TAGS,
        consumes: FORM,
        body: AuthorizationParameters,
      },
      validatorCompiler: unchecked,
    },
    async (request, reply) => {
      const fields = (request.body ?? {}) as unknown as FormFields
      if (readSessionToken(deps, request) !== undefined) return answer(request, reply, fields)
      // A form from another site comes without our cookie (SameSite); as a GET the browser sends it along.
      return reply.redirect(shortEnough(`${PATH}?${writeForm(fields)}`), 303)
    },
  )

  app.post(
    `${PATH}/confirm`,
    {
      schema: {
        summary: 'The answer to prompt=consent',
        description:
          'Fields `decision` and `query`, the request that was asked about. Takes the form of the page alone: with its hidden `csrf` and the cookie of the same browser, or 403.',
        tags: TAGS,
        consumes: FORM,
      },
    },
    async (request, reply) => {
      requireCsrf(deps, request)
      const { query, decision } = request.body as FormFields
      const fields = parseForm(typeof query === 'string' ? query : '')
      return answer(request, reply, fields, decision === 'allow' ? 'allow' : 'deny')
    },
  )
}

function shortEnough(uri: string): string {
  if (uri.length <= LONGEST) return uri
  throw new PageError(
    400,
    'The request is too long',
    'The application that sent you here asks with more than this server can pass on. Tell those who run it.',
  )
}

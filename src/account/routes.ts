import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import { sendPage } from '../http/page.ts'
import { pageNotFound, SignInNeeded } from '../http/page-error.ts'
import { csrfField, requireCsrf } from '../http/user-door.ts'
import { endDelegation } from '../revoke/end-delegations.ts'
import { recogniseSession, requireSession } from '../sessions/recognise.ts'
import { accountPage } from './pages.ts'
import { listActingAgents, listOtherPlaces, listPastAgents } from './queries.ts'

/** Ended delegations that the page shows. */
const MOST_PAST = 50

/** The user's own page: which agents act for me, since when, stop. */
export const accountRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/account',
    {
      schema: {
        summary: 'Show the agents that act for the user',
        description:
          'Where, with which rights, since when and when last, what the relying app is told, and where else the user is signed in.',
        tags: ['pages'],
        querystring: Type.Object({ notice: Type.Optional(Type.String()) }),
      },
    },
    async (request, reply) => {
      const session = await requireSession(deps, request)
      const now = deps.now()
      const [acting, past, otherPlaces] = await Promise.all([
        listActingAgents(deps.db, session.user_id, now),
        listPastAgents(deps.db, session.user_id, now, MOST_PAST),
        listOtherPlaces(deps.db, session, now),
      ])
      return sendPage(
        reply,
        accountPage({
          account: [session.name, session.email].filter(Boolean).join(', ') || session.user_id,
          acting,
          past,
          otherPlaces,
          stopped: request.query.notice === 'stopped',
          now,
          csrf: csrfField(deps, request, reply),
        }),
      )
    },
  )

  app.post(
    '/account/delegations/:id/stop',
    {
      schema: {
        summary: 'Stop an agent',
        description:
          'Ends the delegation, and tells the relying app where that can be. 404 for that of somebody else. Takes the form of the page alone: with its hidden `csrf` and the cookie of the same browser, or 403.',
        tags: ['pages'],
        params: Type.Object({ id: Type.String() }),
      },
    },
    async (request, reply) => {
      const session = await recogniseSession(deps, request)
      if (!session) throw new SignInNeeded('/account')
      requireCsrf(deps, request)
      const { id } = request.params
      if (!/^dlg_[A-Za-z0-9_-]{22}$/.test(id)) throw pageNotFound()
      const by = { kind: 'user', id: session.user_id, request_id: request.id } as const
      const of = { user_id: session.user_id }
      const found = await deps.db.transaction().execute((tx) => endDelegation(tx, deps, id, by, of))
      if (!found) throw pageNotFound()
      return reply.redirect('/account?notice=stopped', 303)
    },
  )
}

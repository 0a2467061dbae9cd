import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Deps } from '../deps.ts'
import type { FormFields } from '../http/form.ts'
import { sendPage } from '../http/page.ts'
import { csrfField, requireCsrf } from '../http/user-door.ts'
import { requireSession } from '../sessions/recognise.ts'
import { readChoice } from './choice.ts'
import {
  decideInteractionOf,
  questionNow,
  refusal,
  requireOpen,
  requireOwnInteraction,
} from './decide.ts'
import { consentPage, decidedPage } from './pages.ts'
import { findNames } from './queries.ts'

const params = Type.Object({ interaction_id: Type.String() })

/**
 * The screen where a user answers an agent's question (GR-03). Only the user whom it asks may see it: to
 * everybody else it does not exist.
 */
export const consentRoutes: FastifyPluginAsyncTypebox<Deps> = async (app, deps) => {
  app.get(
    '/consent/:interaction_id',
    {
      schema: {
        params,
        summary: 'Ask the user',
        description:
          'What `interaction_uri` leads to: who asks, for what, and what the relying app is told. 404 for anybody but the user it asks, 409 when it was answered, 410 when it has expired or nothing of it can be allowed.',
        tags: ['pages'],
      },
    },
    async (request, reply) => {
      const session = await requireSession(deps, request)
      const { interaction_id } = request.params
      const interaction = await requireOwnInteraction(deps, interaction_id, session.user_id)
      const now = deps.now()
      requireOpen(interaction, now)
      const question = await questionNow(deps.db, interaction, now)
      if (!question) throw refusal('ended')
      const csrf = csrfField(deps, request, reply)
      const form = { action: `/consent/${interaction.id}`, csrf, now }
      return sendPage(reply, consentPage(question, form))
    },
  )

  app.post(
    '/consent/:interaction_id',
    {
      schema: {
        params,
        summary: "Take the user's decision",
        description:
          'Fields `decision` (`allow`, `deny`), `mode` (`once`, `always`), `scope` (each that is allowed), `offline`, `expires_at`. What cannot be taken is 400 with the form again; 409 where the question has become another. Takes the form of the page alone: with its hidden `csrf` and the cookie of the same browser, or 403.',
        tags: ['pages'],
      },
    },
    async (request, reply) => {
      const session = await requireSession(deps, request)
      requireCsrf(deps, request)
      const { interaction_id } = request.params
      const interaction = await requireOwnInteraction(deps, interaction_id, session.user_id)
      const now = deps.now()
      requireOpen(interaction, now)
      const fields = (request.body ?? {}) as FormFields
      const read = readChoice(fields, interaction.scopes, now)
      if ('refusal' in read) {
        const question = await questionNow(deps.db, interaction, now)
        if (!question) throw refusal('ended')
        const csrf = csrfField(deps, request, reply)
        const form = { action: `/consent/${interaction.id}`, csrf, now }
        return sendPage(reply, consentPage(question, form, { fields, fault: read.refusal }))
      }
      await decideInteractionOf(deps, interaction, read.choice, request.id)
      return sendPage(reply, decidedPage(read.choice, await findNames(deps.db, interaction)))
    },
  )
}

import { clientIdOf } from '../agents/authenticate.ts'
import type { Deps } from '../deps.ts'
import type { FormFields } from '../http/form.ts'
import { hostOfMetadataUrl } from '../oauth/client-metadata.ts'
import { DELEGATE_SCOPE, GRANT, OPENID_SCOPES } from '../oauth/names.ts'
import { numericDate } from '../oauth/numeric-date.ts'
import { readIdTokenHint } from '../sessions/id-token-hint.ts'
import type { LiveSession } from '../sessions/recognise.ts'
import { issueCode } from './issue-code.ts'
import {
  type AuthorizationError,
  type AuthorizationRequest,
  readAuthorizationRequest,
} from './request.ts'
import { type Client, requireClient, requireRedirectUri } from './require-client.ts'
import { responseUri } from './response.ts'

/** What the browser does next. */
export type Next =
  | { step: 'redirect'; uri: string }
  /** Sign in, then ask again with these parameters: they no longer demand it. */
  | { step: 'sign_in'; again: boolean; login_hint: string | undefined; fields: FormFields }
  | { step: 'confirm'; client: { name: string }; scope: string[] }

type Asked = {
  fields: FormFields
  session: LiveSession | undefined
  request_id: string
  /** Where it came from. */
  address: string
  /** What the user answered to a confirmation, if one was shown. */
  decision?: 'allow' | 'deny' | undefined
}

/**
 * The authorization endpoint (OP-01…OP-09). Enrolment by an administrator is consent to OpenID scopes, so
 * a signed-in user passes through; `prompt=consent` asks, and so does a client that came by its host alone.
 * @throws {PageError} while nobody can say where a redirect may go: unknown client, unregistered redirect URI.
 */
export async function authorize(deps: Deps, asked: Asked): Promise<Next> {
  const { fields, session } = asked
  const client = await requireClient(deps, fields, asked)
  const redirect_uri = requireRedirectUri(fields, client)
  const state = typeof fields.state === 'string' ? fields.state : undefined
  const respond = (answer: { code: string } | AuthorizationError): Next => ({
    step: 'redirect',
    uri: responseUri(redirect_uri, { issuer: deps.config.issuer, state }, answer),
  })

  const request = readAuthorizationRequest(fields, scopesFor(deps.config, client))
  if ('error' in request) return respond(request)
  const fault = faultOf(client, deps.now())
  if (fault !== undefined) return respond({ error: 'unauthorized_client', description: fault })

  const hint = request.id_token_hint && (await readIdTokenHint(deps, request.id_token_hint))
  if (request.id_token_hint && (!hint || hint.aud !== clientIdOf(client))) {
    return respond({
      error: 'invalid_request',
      description: 'id_token_hint is not an ID token that this provider issued to this client',
    })
  }
  const silent = request.prompts.includes('none')
  const login = (description: string): AuthorizationError => ({
    error: 'login_required',
    description,
  })
  if (!session || mustSignIn(request, session, deps.now())) {
    if (silent) return respond(login('The user has to sign in'))
    const { login_hint } = request
    return { step: 'sign_in', again: session !== undefined, login_hint, fields: relaxed(fields) }
  }
  if (hint && hint.sub !== session.user_id) {
    return respond(login('Another user is signed in than the one of id_token_hint'))
  }
  if (session.tenant_id !== client.tenant_id) {
    return respond({ error: 'access_denied', description: 'The user may not use this client' })
  }
  const mustConsent = request.prompts.includes('consent') || !client.enrolled
  if (mustConsent && asked.decision !== 'allow') {
    if (silent) {
      const description = 'The user has to be asked about this client'
      return respond({ error: 'consent_required', description })
    }
    if (asked.decision === 'deny') {
      return respond({ error: 'access_denied', description: 'The user refused' })
    }
    return { step: 'confirm', client: { name: shownName(client) }, scope: request.scope }
  }
  const code = await issueCode(deps, {
    agent_id: client.id,
    redirect_uri,
    session,
    request,
    request_id: asked.request_id,
  })
  return respond({ code })
}

/** The name is the client's own word: whose word it is stands beside it (DS-45). */
const shownName = ({ name, client_metadata_url: url }: Client): string => {
  const host = url === null ? name : hostOfMetadataUrl(url)
  return name === host ? name : `${name} (${host})`
}

function faultOf(client: Client, now: Date): string | undefined {
  if (client.tenant_status !== 'active') return 'The tenant of this agent is suspended'
  if (client.status === 'requested') return 'The agent has not been approved yet'
  if (client.status !== 'active') return 'The agent is suspended'
  if (!client.expires_at || client.expires_at <= now) return 'The agent is past its end'
  if (client.owner_status !== 'active') return 'The agent has no active owner'
  if (!client.grant_types.includes('authorization_code')) return 'The agent may not use this grant'
  return undefined
}

/** `delegate` is for clients that prove themselves and may exchange what they get for it (TX-29, FL-05). */
function scopesFor(
  { delegateTokens }: Deps['config'],
  { grant_types, token_endpoint_auth_method }: Client,
): readonly string[] {
  const exchanges =
    grant_types.includes(GRANT.tokenExchange) && token_endpoint_auth_method !== 'none'
  return delegateTokens && exchanges ? [...OPENID_SCOPES, DELEGATE_SCOPE] : OPENID_SCOPES
}

/** OP-05, OP-06. `max_age=0` always asks, as `prompt=login` does. */
function mustSignIn({ prompts, max_age }: AuthorizationRequest, session: LiveSession, now: Date) {
  if (prompts.includes('login') || prompts.includes('select_account')) return true
  if (max_age === undefined) return false
  return max_age === 0 || numericDate(now) - numericDate(session.auth_time) > max_age
}

/** Without what a sign-in has just fulfilled: asking with it again would go round in circles. */
function relaxed(fields: FormFields): FormFields {
  const { max_age, prompt, ...others } = fields
  const rest = String(prompt ?? '')
    .split(' ')
    .filter((value) => value === 'consent')
  return rest.length > 0 ? { ...others, prompt: rest.join(' ') } : others
}

import type { Config } from '../config.ts'
import {
  type AuthorizationDetail,
  parseAuthorizationDetails,
} from '../oauth/authorization-details.ts'
import { OAuthError } from '../oauth/errors.ts'
import { TOKEN_TYPE } from '../oauth/names.ts'
import { withOrWithoutSlash } from '../oauth/uri.ts'
import type { Correlation } from './id-jag.ts'
import type { TokenRequest } from './schema.ts'
import { readSubjectToken, type SubjectToken } from './subject.ts'

/** A token exchange whose shape is right. Nothing in it is believed. */
export type ExchangeRequest = {
  /** Distinct values, as sent. */
  audiences: string[]
  audience_other: string | undefined
  resources: string[]
  scope: string | undefined
  details: AuthorizationDetail[] | 'malformed'
  subject: SubjectToken
  actor_token: string | undefined
  correlation: Correlation
}

const REQUIRED = [
  'requested_token_type',
  'audience',
  'subject_token',
  'subject_token_type',
] as const

/** @throws {OAuthError} `invalid_request` for a parameter that is missing or unsupported (TX-60: shape comes first). */
export function readExchangeRequest(
  fields: TokenRequest,
  { issuer, delegateTokens }: Pick<Config, 'issuer' | 'delegateTokens'>,
): ExchangeRequest {
  for (const name of REQUIRED) {
    if (fields[name] === undefined) throw new OAuthError('invalid_request', `${name} is missing`)
  }
  if (fields.requested_token_type !== TOKEN_TYPE.idJag) {
    throw new OAuthError(
      'invalid_request',
      `requested_token_type: only ${TOKEN_TYPE.idJag} is issued here`,
    )
  }
  const audiences = [...new Set([fields.audience ?? []].flat())]
  const { authorization_details, subject_token = '' } = fields
  return {
    audiences,
    audience_other: withOrWithoutSlash(audiences[0] ?? ''),
    resources: [...new Set([fields.resource ?? []].flat())],
    scope: fields.scope,
    details:
      authorization_details === undefined
        ? []
        : (parseAuthorizationDetails(authorization_details) ?? 'malformed'),
    subject: readSubjectToken(
      subjectKind(fields.subject_token_type, delegateTokens),
      subject_token,
      issuer,
    ),
    actor_token: readActorToken(fields),
    correlation: {
      agent_platform: fields.agent_platform,
      agent_context_id: fields.agent_context_id,
    },
  }
}

function subjectKind(type: string | undefined, delegateTokens: boolean) {
  if (type === TOKEN_TYPE.idToken) return 'id_token'
  if (type === TOKEN_TYPE.refreshToken) return 'refresh_token'
  if (type === TOKEN_TYPE.accessToken && delegateTokens) return 'access_token'
  throw new OAuthError(
    'invalid_request',
    `subject_token_type: ${TOKEN_TYPE.idToken} or ${TOKEN_TYPE.refreshToken} is accepted here`,
  )
}

/** Both or neither (TX-19). */
function readActorToken({ actor_token, actor_token_type }: TokenRequest): string | undefined {
  if ((actor_token === undefined) !== (actor_token_type === undefined)) {
    throw new OAuthError('invalid_request', 'actor_token and actor_token_type go together')
  }
  if (actor_token_type !== undefined && actor_token_type !== TOKEN_TYPE.jwt) {
    throw new OAuthError('invalid_request', `actor_token_type: ${TOKEN_TYPE.jwt} is accepted here`)
  }
  return actor_token
}

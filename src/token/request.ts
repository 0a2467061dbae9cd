import type { FormFields } from '../http/form.ts'
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
  subject: SubjectToken
  correlation: Correlation
}

/** Specified, but built later: named rather than ignored (design §3.2). */
const NOT_YET = [
  'authorization_details',
  'actor_token',
  'actor_token_type',
  'dpop_jkt',
  'request_uri',
]

/** @throws {OAuthError} `invalid_request` naming a parameter that this server does not know to honour yet. */
export function refuseUnbuilt(dpop: unknown, fields: FormFields): void {
  if (dpop !== undefined) {
    throw new OAuthError(
      'invalid_request',
      'DPoP: sender-constrained tokens are not supported here',
    )
  }
  const unbuilt = NOT_YET.find((name) => fields[name] !== undefined)
  if (unbuilt !== undefined) {
    throw new OAuthError('invalid_request', `${unbuilt}: this parameter is not supported here`)
  }
}

/** @throws {OAuthError} `invalid_request` for a parameter that is missing or unsupported (TX-60: shape comes first). */
export function readExchangeRequest(fields: TokenRequest): ExchangeRequest {
  for (const name of [
    'requested_token_type',
    'audience',
    'subject_token',
    'subject_token_type',
  ] as const) {
    if (fields[name] === undefined) throw new OAuthError('invalid_request', `${name}: is required`)
  }
  if (fields.requested_token_type !== TOKEN_TYPE.idJag) {
    throw new OAuthError(
      'invalid_request',
      `requested_token_type: only ${TOKEN_TYPE.idJag} is issued here`,
    )
  }
  const audiences = [...new Set([fields.audience ?? []].flat())]
  return {
    audiences,
    audience_other: withOrWithoutSlash(audiences[0] ?? ''),
    resources: [...new Set([fields.resource ?? []].flat())],
    scope: fields.scope,
    subject: readSubjectToken(subjectKind(fields.subject_token_type), fields.subject_token ?? ''),
    correlation: {
      agent_platform: fields.agent_platform,
      agent_context_id: fields.agent_context_id,
    },
  }
}

function subjectKind(type: string | undefined): SubjectToken['kind'] {
  if (type === TOKEN_TYPE.idToken) return 'id_token'
  if (type === TOKEN_TYPE.refreshToken) return 'refresh_token'
  throw new OAuthError(
    'invalid_request',
    `subject_token_type: ${TOKEN_TYPE.idToken} or ${TOKEN_TYPE.refreshToken} is accepted here`,
  )
}

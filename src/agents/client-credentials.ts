import type { FormFields } from '../http/form.ts'
import { OAuthError } from '../oauth/errors.ts'
import { type DecodedJws, decodeJws } from '../oauth/jws.ts'
import { CLIENT_ASSERTION_TYPE } from '../oauth/names.ts'

/** How a client says who it is, before anything of it is believed (RFC 6749 §2.3, RFC 7523 §2.2). */
export type ClientCredentials =
  | { method: 'assertion'; clientId: string; assertion: DecodedJws }
  | { method: 'secret'; clientId: string; secret: string; byHeader: boolean }
  | { method: 'none'; clientId: string }

/**
 * Reads the one authentication method of a request.
 * @throws {OAuthError} `invalid_request` for more than one (CA-01) or half a pair; `invalid_client` for
 *   none at all, another scheme than Basic, or an assertion that is no JWS.
 */
export function readClientCredentials(
  authorization: string | undefined,
  fields: FormFields,
): ClientCredentials {
  const { client_id, client_secret, client_assertion, client_assertion_type } = fields as Record<
    string,
    string | undefined
  >
  const methods = [authorization, client_secret, client_assertion].filter(Boolean).length
  if (methods > 1) {
    throw new OAuthError('invalid_request', 'Use one client authentication method, not several')
  }
  if ((client_assertion === undefined) !== (client_assertion_type === undefined)) {
    throw new OAuthError(
      'invalid_request',
      'client_assertion and client_assertion_type go together',
    )
  }
  if (authorization !== undefined) return readBasic(authorization, client_id)
  if (client_assertion !== undefined) {
    return readAssertion(client_assertion, client_assertion_type, client_id)
  }
  if (client_id === undefined) {
    throw new OAuthError('invalid_client', 'The request does not say which client it comes from')
  }
  if (client_secret !== undefined) {
    return { method: 'secret', clientId: client_id, secret: client_secret, byHeader: false }
  }
  return { method: 'none', clientId: client_id }
}

/** Id and secret are form-urlencoded before base64 (RFC 6749 §2.3.1). */
function readBasic(authorization: string, bodyClientId: string | undefined): ClientCredentials {
  const refused = () =>
    new OAuthError('invalid_client', 'The Authorization header is not a valid Basic credential', {
      basicChallenge: true,
    })
  const [, encoded] = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization) ?? []
  const pair = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  if (colon < 1) throw refused()
  let clientId: string
  let secret: string
  try {
    clientId = decodeURIComponent(pair.slice(0, colon).replaceAll('+', ' '))
    secret = decodeURIComponent(pair.slice(colon + 1).replaceAll('+', ' '))
  } catch {
    throw refused()
  }
  if (bodyClientId !== undefined && bodyClientId !== clientId) {
    throw new OAuthError('invalid_request', 'client_id differs from the Authorization header')
  }
  return { method: 'secret', clientId, secret, byHeader: true }
}

function readAssertion(
  token: string,
  type: string | undefined,
  bodyClientId: string | undefined,
): ClientCredentials {
  if (type !== CLIENT_ASSERTION_TYPE) {
    throw new OAuthError('invalid_client', `client_assertion_type must be ${CLIENT_ASSERTION_TYPE}`)
  }
  const assertion = decodeJws(token)
  const clientId = assertion?.payload['sub']
  if (assertion === undefined || typeof clientId !== 'string') {
    throw new OAuthError(
      'invalid_client',
      'client_assertion is not a signed JWT that names its sub',
    )
  }
  if (bodyClientId !== undefined && bodyClientId !== clientId) {
    throw new OAuthError('invalid_client', 'client_id differs from the sub of client_assertion')
  }
  return { method: 'assertion', clientId, assertion }
}

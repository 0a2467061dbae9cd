import type { AuthorizationError } from './request.ts'

/**
 * The address of an authorization response (RFC 6749 §4.1.2). `iss` is in every one, so that a client of
 * several providers knows who answers (RFC 9207, OP-03); `state` goes back as it came (OP-04).
 */
export function responseUri(
  redirectUri: string,
  { issuer, state }: { issuer: string; state: string | undefined },
  answer: { code: string } | AuthorizationError,
): string {
  const params = new URLSearchParams()
  if ('code' in answer) params.set('code', answer.code)
  else {
    params.set('error', answer.error)
    params.set('error_description', answer.description)
  }
  if (state !== undefined) params.set('state', state)
  params.set('iss', issuer)
  // The registered text stays as it is, its own query included; a fragment it never has.
  return `${redirectUri}${redirectUri.includes('?') ? '&' : '?'}${params}`
}

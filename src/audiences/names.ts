/** The names that a request may give for an audience: its issuer, which is also the `aud`, and its aliases. */
import { invalid } from '../http/problem.ts'
import { normaliseResource, parseWebUrl, withOrWithoutSlash } from '../oauth/uri.ts'

/**
 * @param self our own issuer: what we issue is never redeemed here (FL-02)
 * @throws {ProblemError} `validation_failed`
 */
export function checkIssuer(issuer: string, self: string, allowLoopbackHttp: boolean): void {
  const url = parseWebUrl(issuer, allowLoopbackHttp)
  if (url === undefined || issuer.includes('?')) {
    throw invalid(
      '/issuer',
      'must be an absolute https URL without userinfo, query and fragment (RFC 8414 §2)',
    )
  }
  if (isSelf(issuer, self)) {
    throw invalid('/issuer', 'is this server itself, which does not redeem what it issued')
  }
}

/**
 * The aliases (TX-06) in the order in which a record shows them.
 * @throws {ProblemError} `validation_failed`
 */
export function readAliases(given: readonly string[], issuer: string, self: string): string[] {
  given.forEach((alias, index) => {
    const pointer = `/aliases/${index}`
    if (normaliseResource(alias) === undefined) {
      throw invalid(pointer, 'must be an absolute URI, such as a URN, without a fragment')
    }
    if (isSelf(alias, self)) throw invalid(pointer, 'is this server itself')
    if (alias === issuer) throw invalid(pointer, 'is the issuer of this audience already')
  })
  return [...given].sort()
}

/** Every form in which a request might mean this name: issuers are found with one slash more or less too (TX-05). */
export function formsOf(name: string): string[] {
  const other = withOrWithoutSlash(name)
  return other === undefined ? [name] : [name, other]
}

const isSelf = (name: string, self: string): boolean =>
  normaliseResource(name) === normaliseResource(self)

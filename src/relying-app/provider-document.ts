import { isObject } from '../oauth/is-object.ts'
import { parseWebUrl } from '../oauth/uri.ts'
import { isText } from './assertion.ts'

/** What a client metadata document can be fetched from (DS-40). */
export function isClientDocumentUrl(value: unknown): value is string {
  if (!isText(value)) return false
  const url = parseWebUrl(value, false)
  // A dot segment, or a path that is missing, would come back from the parser as something else.
  return url !== undefined && url.pathname !== '/' && url.href === value
}

/**
 * Whether the document is the provider's: it names itself (DS-41), and its keys are those that the assertion
 * was verified with.
 */
export const isProviderDocument = (document: unknown, url: string, jwksUri: string): boolean =>
  isObject(document) && document.client_id === url && document.jwks_uri === jwksUri

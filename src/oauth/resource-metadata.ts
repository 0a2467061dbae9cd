/** What the metadata of a protected resource says (RFC 9728 §2), as far as we go by it. */
import { readMembers } from './document-members.ts'
import { LINE_PATTERN } from './plain-text.ts'
import { SCOPE_TOKEN_PATTERN } from './scope.ts'
import { normaliseUri, parseWebUrl } from './uri.ts'

export type ResourceMetadata = {
  resource: string
  /** As written, in their order, each once. */
  authorization_servers: string[]
  name: string | undefined
  scopes: string[] | undefined
  details_types: string[] | undefined
  dpop_required: boolean
  ignored: readonly string[]
}

/** Of each list that a record can hold, the most. */
const MOST_SERVERS = 20
const MOST_SCOPES = 200
const MOST_DETAILS_TYPES = 100

/** @returns what is missing or wrong, for a document that leads nowhere */
export function readResourceMetadata(
  document: Record<string, unknown>,
  allowLoopbackHttp: boolean,
): ResourceMetadata | { fault: string } {
  const members = readMembers(document)
  const resource = members.text('resource', (url) => isIdentifier(url, allowLoopbackHttp))
  if (resource === undefined) return { fault: 'its resource is missing or no https URL' }
  const servers = members.texts(
    'authorization_servers',
    (url) => isIdentifier(url, allowLoopbackHttp) && !url.includes('?'),
    MOST_SERVERS,
  )
  if (servers === undefined || servers.length === 0) {
    return { fault: 'its authorization_servers names no https URL' }
  }
  return {
    resource,
    authorization_servers: servers,
    name: members.text('resource_name', isLine(200)),
    scopes: members.texts('scopes_supported', isScope, MOST_SCOPES),
    details_types: members.texts(
      'authorization_details_types_supported',
      isLine(128),
      MOST_DETAILS_TYPES,
    ),
    dpop_required: members.flag('dpop_bound_access_tokens_required'),
    ignored: members.ignored,
  }
}

/** Of a resource or a server, as a record can hold it. */
export const isIdentifier = (url: string, allowLoopbackHttp: boolean): boolean =>
  url.length <= 512 &&
  parseWebUrl(url, allowLoopbackHttp) !== undefined &&
  normaliseUri(url) !== undefined

export const isScope = (text: string): boolean => text.length <= 128 && SCOPE.test(text)
const SCOPE = new RegExp(SCOPE_TOKEN_PATTERN)

const LINE = new RegExp(LINE_PATTERN, 'u')

/** One line of text with something in it. */
const isLine =
  (longest: number) =>
  (text: string): boolean =>
    [...text].length <= longest && LINE.test(text)

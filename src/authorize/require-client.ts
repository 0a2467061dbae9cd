import { clientIdOf, mayCome } from '../agents/authenticate.ts'
import type { ClientDocument } from '../agents/client-documents.ts'
import { type NamedClient, recogniseClient } from '../agents/recognise.ts'
import type { Deps } from '../deps.ts'
import { countDocument } from '../http/document-limit.ts'
import type { FormFields } from '../http/form.ts'
import { PageError } from '../http/page-error.ts'
import { looksLikeMetadataUrl } from '../oauth/client-metadata.ts'
import { GRANT } from '../oauth/names.ts'
import { isRegisteredRedirect } from '../oauth/redirect-uri.ts'
import { findClient } from './queries.ts'

export type Client = NonNullable<Awaited<ReturnType<typeof findClient>>>

/** Where it came from, and by which request. */
type Source = { request_id: string; address: string }

/** @throws {PageError} for a client that nobody here knows */
export async function requireClient(
  deps: Deps,
  { client_id, redirect_uri }: FormFields,
  source: Source,
): Promise<Client> {
  const named =
    typeof client_id === 'string' && (await recognise(deps, client_id, redirect_uri, source))
  const client = named ? await findClient(deps.db, named.id) : undefined
  if (client && clientIdOf(client) === client_id && mayCome(client, deps.now())) return client
  throw new PageError(
    400,
    'Unknown application',
    'The application that sent you here is not known. Tell those who run it that its client_id is wrong.',
  )
}

/** @throws {PageError} for a redirect URI that is not registered */
export function requireRedirectUri({ redirect_uri }: FormFields, client: Client): string {
  if (typeof redirect_uri === 'string' && isRedirectOf(client, redirect_uri)) return redirect_uri
  throw wrongRedirect()
}

const wrongRedirect = () =>
  new PageError(
    400,
    'Wrong return address',
    'The application wants you sent to an address that is not registered for it, so you stay here. Tell those who run it that its redirect_uri is missing or wrong.',
  )

/** A document lists an address exactly (DS-49), while an administrator leaves the port of a loopback one open. */
const isRedirectOf = ({ client_metadata_url, redirect_uris }: Client, uri: string): boolean =>
  client_metadata_url === null
    ? isRegisteredRedirect(redirect_uris, uri)
    : redirect_uris.includes(uri)

/** A client that is known by a URL may have no agent yet: it gets one by a request that its document bears out. */
async function recognise(
  deps: Deps,
  client_id: string,
  redirect_uri: string | string[] | undefined,
  { request_id, address }: Source,
): Promise<NamedClient | undefined> {
  if (!looksLikeMetadataUrl(client_id)) {
    return /^agt_[A-Za-z0-9_-]{22}$/.test(client_id) ? { id: client_id } : undefined
  }
  const lists = ({ metadata }: ClientDocument) =>
    typeof redirect_uri === 'string' && metadata.redirect_uris.includes(redirect_uri)
  const client = await recogniseClient(deps, {
    client_id,
    request_id,
    serves: lists,
    holds: (document) =>
      lists(document) && document.metadata.grant_types.includes(GRANT.authorizationCode),
    mayAsk(url) {
      const { exceeded } = countDocument(deps, { url, address }) ?? {}
      if (exceeded) throw tooMany(exceeded.retryAfter)
    },
  })
  if (!('refused' in client)) return client
  if (client.refused === 'client_metadata_unreadable') throw unreadable()
  if (client.refused === 'bad_credentials') throw wrongRedirect()
  return undefined
}

const unreadable = () =>
  new PageError(
    400,
    'The application cannot be recognised',
    'What the application that sent you here publishes about itself cannot be read, or does not count. Tell those who run it, or try again later.',
  )

const tooMany = (retryAfter: number) =>
  new PageError(
    429,
    'Too many requests',
    'The application that sent you here was asked about itself too often. Try again in a minute.',
    { retryAfter },
  )

import { parseScope } from '../oauth/scope.ts'
import { normaliseResource } from '../oauth/uri.ts'
import { type Claims, isText } from './assertion.ts'
import { type Refusal, refuse } from './refusal.ts'

/** The `scope` and `resource` parameters of the token request. */
export type Asked = { scope?: string | undefined; resource?: readonly string[] | undefined }

/** What an access token may be good for at the most. */
export type Rights = { scopes: string[]; resources: string[] }

/** This app's own resources, and those that are meant where an ID-JAG names none. */
export type Own = { resources: readonly string[]; defaults: readonly string[] }

/**
 * IJ-57: what was asked for and the ID-JAG allows, or all it allows where nothing was asked; of resources
 * only this app's own, in its own spelling.
 */
export function narrowRights(claims: Claims, asked: Asked, own: Own): Rights | Refusal {
  // A parameter without a value is one that was not sent (RFC 6749 §3.2).
  const resources = narrowResources(claims.resource, asked.resource?.filter(isText) ?? [], own)
  if ('error' in resources) return resources
  const scopes = narrowScopes(claims.scope, asked.scope || undefined)
  if ('error' in scopes) return scopes
  return { scopes, resources }
}

function narrowResources(claim: unknown, asked: readonly string[], own: Own): string[] | Refusal {
  const named = claim === undefined ? own.defaults : [claim].flat()
  const allowed = own.resources.filter((one) => named.some((other) => isSame(one, other)))
  if (allowed.length === 0)
    return refuse(400, 'invalid_grant', 'The assertion is for no resource of this server')
  if (!asked.every((one) => allowed.some((other) => isSame(one, other)))) {
    return refuse(400, 'invalid_target', 'The assertion is not for the resource that was asked for')
  }
  if (asked.length === 0) return allowed
  return allowed.filter((one) => asked.some((other) => isSame(one, other)))
}

function narrowScopes(claim: unknown, asked: string | undefined): string[] | Refusal {
  const allowed = claim === undefined ? [] : typeof claim === 'string' && parseScope(claim)
  if (!allowed) return refuse(400, 'invalid_grant', 'The assertion has a malformed scope')
  if (asked === undefined) return allowed
  const scopes = parseScope(asked)?.filter((scope) => allowed.includes(scope)) ?? []
  return scopes.length > 0
    ? scopes
    : refuse(400, 'invalid_scope', 'The assertion has none of the scopes that were asked for')
}

function isSame(one: string, other: unknown): boolean {
  const name = normaliseResource(one)
  return name !== undefined && typeof other === 'string' && name === normaliseResource(other)
}

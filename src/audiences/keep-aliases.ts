import type { Db } from '../db/tables.ts'
import { ProblemError } from '../http/problem.ts'
import {
  deleteAliases,
  findAliases,
  findIssuersOfOthers,
  holdNames,
  insertAliases,
} from './alias-queries.ts'
import { formsOf } from './names.ts'

/**
 * Holds the names of the tenant, and makes sure that a new issuer is nobody's alias.
 * @throws {ProblemError} `already_exists`
 */
export async function takeIssuer(
  tx: Db,
  { tenant_id, issuer }: { tenant_id: string; issuer: string },
): Promise<void> {
  await holdNames(tx, tenant_id)
  const taken = await findAliases(tx, { tenant_id, names: formsOf(issuer) })
  if (taken.length > 0) throw exists('/issuer', 'An audience of this tenant has this alias')
}

/**
 * Puts these in the place of the aliases that an audience had, who holds its row. A name means one audience
 * of the tenant: it is no other one's alias, nor a way to write its issuer.
 * @param given as the caller ordered them, to say which one is taken
 * @throws {ProblemError} `already_exists`
 */
export async function keepAliases(
  tx: Db,
  audience: { id: string; tenant_id: string },
  given: readonly string[],
): Promise<void> {
  await holdNames(tx, audience.tenant_id)
  await deleteAliases(tx, audience.id)
  if (given.length === 0) return
  const issuers = await findIssuersOfOthers(tx, { ...audience, names: given.flatMap(formsOf) })
  const issuer = given.findIndex((alias) => formsOf(alias).some((form) => issuers.includes(form)))
  if (issuer >= 0) {
    throw exists(`/aliases/${issuer}`, 'An audience of this tenant has this issuer')
  }
  const kept = await insertAliases(tx, audience, given)
  const taken = given.findIndex((alias) => !kept.includes(alias))
  if (taken >= 0) {
    throw exists(`/aliases/${taken}`, 'Another audience of this tenant has this alias')
  }
}

const exists = (pointer: string, detail: string): ProblemError =>
  new ProblemError('already_exists', detail, { errors: [{ pointer, detail }] })

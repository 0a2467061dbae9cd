import type { Reason } from '../audit/reason.ts'
import { recordEvent } from '../audit/record.ts'
import type { Db } from '../db/tables.ts'
import type { Deps } from '../deps.ts'
import { callerOf } from '../http/rate-limit.ts'
import { holdUser } from '../sessions/lock.ts'
import { openSession } from '../sessions/open.ts'
import { verifyPassword } from '../users/password.ts'
import type { SignInLimits } from './limits.ts'
import { findPasswordHash, foldAddress, listAccounts } from './queries.ts'

/** The failures of those who know no password. */
const STRANGERS: Reason[] = ['unknown_account', 'wrong_password']

export type SignInTry = {
  email: string
  password: string
  /** Where the request came from. */
  address: string
  /** The browser's session cookie so far. */
  cookie: string | undefined
  request_id?: string | undefined
}

export type SignInResult =
  | { signedIn: true; token: string }
  | { signedIn: false; why: 'wrong' }
  | { signedIn: false; why: 'too_many'; retryAfter: number }

/**
 * Signs a user in by e-mail and password. What is wrong, address or password, shows neither in the
 * answer nor in the time it takes; the audit log alone knows, and it never learns the address typed.
 * Beyond the limits a right password is refused as well: otherwise the limits would only slow a guesser.
 * @throws {TooBusy} when more passwords are waiting to be checked than can be
 */
export async function signInByPassword(
  deps: Deps,
  limits: SignInLimits,
  { email, password, address, cookie, request_id }: SignInTry,
): Promise<SignInResult> {
  const caller = callerOf(address)
  const account = await nameAccount(deps.db, email)
  const tooMany = (await limits.address.take(caller)) ?? (await limits.account.take(account))
  if (tooMany) {
    await recordFailure(deps, tooMany.first && limits.sampled(), {
      reason: 'too_many_tries',
      request_id,
    })
    return { signedIn: false, why: 'too_many', retryAfter: tooMany.retryAfter }
  }
  const judged = await judge(deps, email, password)
  if ('reason' in judged) {
    const stranger = STRANGERS.includes(judged.reason)
    await recordFailure(deps, !stranger || limits.sampled(), { ...judged, request_id })
    return { signedIn: false, why: 'wrong' }
  }
  await limits.account.reset(account)
  await limits.address.giveBack(caller)
  const { hash, ...of } = judged
  const opened = await deps.db.transaction().execute(async (tx) => {
    // Checking took a while: a suspension or a new password since then has ended all sessions but this one.
    const reason = (await holdUser(tx, of)) ?? (await faultOfHash(tx, of.user_id, hash))
    if (reason) return { reason }
    const session = await openSession(deps, tx, {
      ...of,
      amr: ['pwd'],
      cookie,
      request_id,
    })
    await recordEvent(tx, {
      type: 'sign_in.succeeded',
      at: deps.now(),
      actor: { kind: 'user', id: of.user_id },
      ...of,
      detail: { session_id: session.id },
      request_id,
    })
    return session
  })
  if ('token' in opened) return { signedIn: true, token: opened.token }
  await recordFailure(deps, true, { ...opened, ...of, request_id })
  return { signedIn: false, why: 'wrong' }
}

/** PostgreSQL keeps no U+0000: what holds one is nobody's address. */
const nameAccount = async (db: Db, email: string) =>
  email.includes('\0') ? email : foldAddress(db, email)

async function faultOfHash(db: Db, userId: string, hash: string): Promise<Reason | undefined> {
  return (await findPasswordHash(db, userId)) === hash ? undefined : 'wrong_password'
}

type Judged =
  | { user_id: string; tenant_id: string; hash: string }
  | { reason: Reason; user_id?: string; tenant_id?: string }

/** One verification for each account with this address, and one where there is none. */
async function judge(deps: Deps, email: string, password: string): Promise<Judged> {
  const accounts = email.includes('\0') ? [] : await listAccounts(deps.db, email)
  if (accounts.length === 0) {
    await verifyPassword(undefined, password)
    return { reason: 'unknown_account' }
  }
  let judged: Judged | undefined
  for (const { id: user_id, tenant_id, hash, status, tenant_status } of accounts) {
    const right = await verifyPassword(hash ?? undefined, password)
    if (judged && !('reason' in judged)) continue
    const of = { user_id, tenant_id }
    if (!right || hash === null) judged ??= { reason: 'wrong_password', ...of }
    else if (status !== 'active') judged = { reason: 'user_inactive', ...of }
    else if (tenant_status !== 'active') judged = { reason: 'tenant_suspended', ...of }
    else judged = { ...of, hash }
  }
  return judged ?? { reason: 'unknown_account' }
}

/** Counts every failure, and writes down the one that `written` says: a flood of strangers fills no disk. */
async function recordFailure(
  deps: Deps,
  written: boolean,
  of: {
    reason: Reason
    user_id?: string
    tenant_id?: string
    request_id?: string | undefined
  },
): Promise<void> {
  deps.metrics.refused('sign_in', of.reason)
  if (!written) return
  await recordEvent(deps.db, {
    type: 'sign_in.failed',
    at: deps.now(),
    actor: { kind: 'unknown' },
    ...of,
  })
}

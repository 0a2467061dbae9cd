import assert from 'node:assert/strict'
import { decodeJwt } from 'jose'
import { type Change, TRACES } from './changes.ts'
import type { Written } from './hostile-requests.ts'
import type { World } from './hostile-world.ts'
import type { Answer } from './house.ts'
import { assertOAuthError } from './refusals.ts'

/** What must be so of every answer, whatever was asked. */

/** Sends a request to the token endpoint and judges all that came of it. */
export async function judgeTokenRequest(world: World, request: Written): Promise<Answer> {
  await world.changes.take()
  const answer = await world.house.inject(request)
  const written = await world.changes.take()
  try {
    assertTokenAnswer(world, answer, request)
    assertNoSecret(world, answer, request.minted)
    if (answer.status === 200) assertIssued(answer, written)
    else assertNothingDone(written)
  } finally {
    learn(world, answer)
    await world.renew(written)
  }
  return answer
}

/** An ID-JAG or tokens, or an error as RFC 6749 §5.2 wants it. */
function assertTokenAnswer({ parties }: World, answer: Answer, { payload }: Written): void {
  const { status, body, headers, text } = answer
  if (status === 200) {
    assert.ok(typeof body.access_token === 'string', text)
    assert.equal(headers['cache-control'], 'no-store')
    return
  }
  // Of all that may come, this alone is nobody's fault here.
  const unavailable = status === 503 && namesIssuer(String(payload), parties.silent)
  assert.ok(unavailable || (status >= 400 && status < 500), `${status} ${text}`)
  assertOAuthError(answer, status, body?.error)
  assert.ok(CODES.has(body.error), text)
  assertPlainHeaders(answer)
}

const CODES = new Set([
  ...['invalid_request', 'invalid_client', 'unauthorized_client', 'unsupported_grant_type'],
  ...['invalid_grant', 'invalid_scope', 'invalid_target', 'invalid_authorization_details'],
  ...['insufficient_user_authentication', 'interaction_required', 'access_denied'],
  ...['invalid_dpop_proof', 'use_dpop_nonce', 'temporarily_unavailable'],
])

/** Whether a token in the form says that it is of this issuer. */
const namesIssuer = (form: string, issuer: string): boolean =>
  [...form.matchAll(/\.([\w-]+)\./g)].some(([, part = '']) =>
    Buffer.from(part, 'base64url').toString('utf8').includes(`"${issuer}"`),
  )

export function assertPlainHeaders({ headers }: Answer): void {
  for (const [name, value] of Object.entries(headers)) {
    assert.match([value].flat().join(), /^[\x20-\x7e]*$/, name)
  }
}

/** Nothing that was sent, and nothing that is kept, comes back or lies in the log; and that tells of no fault of ours. */
export function assertNoSecret(
  world: World,
  answered: Answer | readonly Answer[],
  sent: readonly string[] = [],
): void {
  const answers = [answered].flat()
  const told = answers.map(({ headers, text }) => `${JSON.stringify(headers)}\n${text}`).join('\n')
  const isSilent = answers.some(({ status }) => status === 503)
  const secrets = [...world.secrets(), ...sent].filter(({ length }) => length >= 20)
  const isTold = (text: string) => secrets.some((secret) => text.includes(secret))
  assert.ok(!isTold(told), `a secret was told: ${told}`)
  for (const line of world.house.logs.splice(0)) {
    assert.ok(!isTold(line), `a secret was logged: ${line}`)
    assert.ok(isSilent || !/"level":(50|60)/.test(line), line)
  }
}

/** That a refused request wrote no more than it may: the log, counters, what serves once, one question, and TX-27. */
export function assertNothingDone(written: readonly Change[]): void {
  const refusals = written.flatMap(({ table, after }) =>
    table === 'audit_events' && String(after?.type).endsWith('.refused') ? [after] : [],
  )
  assert.ok(refusals.length <= 1, 'one refusal was written down more than once')
  const asked = written.filter(({ table, op }) => table === 'interactions' && op === 'INSERT')
  assert.ok(asked.length <= 1, JSON.stringify(asked))
  const others = written.filter(
    (change) =>
      !TRACES.includes(change.table) &&
      !isArrival(change) &&
      !(isQuestion(change) && ASKING.includes(String(refusals[0]?.error))) &&
      !(isReuse(change) && REUSES.includes(String(refusals[0]?.reason))),
  )
  assert.deepEqual(others, [], 'a refused request changed something')
}

const ASKING = ['interaction_required', 'consent_required']

/** One that is new, or one that nobody has answered in time. */
const isQuestion = ({ table, op, after }: Change): boolean =>
  table === 'interactions' && (op === 'INSERT' || (op === 'UPDATE' && after?.status === 'expired'))

/**
 * Who is vouched for is known from then on, whatever they came for: the user of a trusted issuer and the client
 * of a host that an administrator named.
 */
const isArrival = ({ table, op, after }: Change): boolean =>
  op === 'INSERT' &&
  ((table === 'users' && after?.external_id !== null) ||
    (table === 'upstream_accounts' && String(after?.created_by).startsWith('tis_')) ||
    (table === 'agents' && after?.client_metadata_url !== null))

/** What was spent came back: the grant ends, and nothing else of it changes (TX-27, OP-09). */
function isReuse({ table, op, before, after }: Change): boolean {
  if (table !== 'refresh_token_families' || op !== 'UPDATE') return false
  const { ended_at, end_reason, ...now } = after ?? {}
  const { ended_at: lived, end_reason: _, ...then } = before ?? {}
  assert.deepEqual(now, then)
  return lived === null && ended_at !== null && REUSED.includes(end_reason as string)
}
const REUSED = ['token_reused', 'code_reused']
const REUSES = ['spent_refresh_token', 'spent_code']

const OF_A_GRANT = ['authorization_codes', 'refresh_token_families', 'refresh_tokens']
const OF_AN_EXCHANGE = ['issuances', 'delegations', 'pairwise_subjects']

/** What was issued is written down, once, and nothing else happened. */
function assertIssued({ body, text }: Answer, written: readonly Change[]): void {
  const idJag = body.issued_token_type !== undefined
  const rows = written.filter(({ table }) => table === 'issuances')
  assert.equal(rows.length, idJag ? 1 : 0, text)
  const allowed = [...TRACES, ...(idJag ? OF_AN_EXCHANGE : OF_A_GRANT)]
  assert.deepEqual(
    written.filter((change) => !allowed.includes(change.table) && !isArrival(change)),
    [],
  )
  for (const { table, op } of written) {
    const isFinal = TRACES.includes(table) || table === 'issuances'
    assert.ok(!isFinal || op === 'INSERT', `${op} ${table}`)
  }
}

/** The next request goes on with what this one got. */
function learn({ tokens, parties }: World, { body, status }: Answer): void {
  if (status !== 200 || body?.refresh_token === undefined) return
  const { client_id } = decodeJwt(body.access_token)
  const [name] =
    Object.entries(parties.agents).find(([, agent]) => agent.client_id === client_id) ?? []
  const known = name === undefined ? undefined : tokens[name]
  if (known === undefined) return
  known.refresh_token = body.refresh_token
  known.id_token = body.id_token ?? known.id_token
}

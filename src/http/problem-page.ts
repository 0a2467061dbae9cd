import { html } from './html.ts'
import type { Page } from './page.ts'
import { PROBLEMS, type ProblemCode } from './problem.ts'

/** What to do about each problem, for whoever follows the link in its `type`. */
const REMEDIES: Record<ProblemCode, string> = {
  malformed_json:
    'Send one JSON object as the body. Look for a trailing comma, a missing quote, or an empty body where one is needed.',
  unauthenticated:
    'Send Authorization: Bearer with an admin key. A key that was ended or is past its expiry is refused like an unknown one; ask whoever may write admin-keys for a new one.',
  insufficient_scope:
    'The detail names the scope that the call needs. Use a key that has it, or have one made: scopes of a key cannot be changed.',
  not_found:
    'Check the path and the id. A record of the wrong kind, or one that never was, answers the same.',
  method_not_allowed: 'The Allow header of the answer lists the methods of this path.',
  already_exists:
    'Something with this unique value is there already. List the records and use that one, or choose another value.',
  idempotency_conflict:
    'The Idempotency-Key was sent before, with another body. Use a new key for another request; use the old one only to send the same request again.',
  invalid_transition:
    'The record is in a state from which this is not possible; the detail says which. Read it to see where it stands.',
  too_early: 'Wait until ready_at in the answer, and send the request again.',
  too_large: 'Send less in one request: split a long list over several.',
  unsupported_media_type: 'Send the body as application/json.',
  validation_failed:
    'errors lists what is wrong, each with a JSON pointer to the member. Members that are not known are refused too: look for a misspelt name.',
  unsupported_value:
    'The value has a meaning, but this server cannot act on it: its release or its settings do not go so far, or what the value leads to says too little. The detail says which. Leave the member out, or use another of its values.',
  owner_inactive:
    'Whoever owns an agent must be an active user of its tenant. Activate that user, or name another.',
  rate_limited: 'Wait as many seconds as Retry-After says before trying again.',
  internal_error:
    'The fault is ours and was logged. Try again later; if it stays, look for the time of the request in the server’s log.',
  unavailable:
    'Something that this needs, such as the database, does not answer. Try again in a moment; /readyz says which part it is.',
}

export const isProblemCode = (text: string): text is ProblemCode => Object.hasOwn(PROBLEMS, text)

export function problemPage(code: ProblemCode): Page {
  const [status, title] = PROBLEMS[code]
  return {
    title,
    body: html`<div class="card">
<h1>${title}</h1>
<dl>
<dt>Code</dt><dd><code>${code}</code></dd>
<dt>Status</dt><dd>${status}</dd>
<dt>What to do</dt><dd>${REMEDIES[code]}</dd>
</dl>
<p><a href="/docs#problems">All problems</a></p>
</div>`,
  }
}

export const unknownProblemPage: Page = {
  status: 404,
  title: 'No such problem',
  body: html`<div class="card">
<h1>No such problem</h1>
<p>This server has no problem of that name. <a href="/docs#problems">All problems</a></p>
</div>`,
}

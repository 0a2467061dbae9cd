import { type Html, html } from '../http/html.ts'
import { hidden, type Page } from '../http/page.ts'

const MEANINGS: Record<string, string> = {
  openid: 'who you are here (a stable identifier)',
  profile: 'your name',
  email: 'your e-mail address',
  phone: 'your phone number',
  delegate: 'to act for you at the apps where you have allowed it',
  offline_access: 'to stay signed in while you are away, until you sign out',
}

/** `prompt=consent`: the user confirms what the enrolment allows anyway. */
export const confirmPage = (of: {
  csrf: Html
  /** The authorization request, to be asked again with the answer. */
  query: string
  client: string
  scope: readonly string[]
  user: { name: string | null; email: string | null }
}): Page => ({
  title: `Sign in to ${of.client}?`,
  leadsAway: true,
  body: html`
<div class="card">
<h1>Sign in to ${of.client}?</h1>
<p>You are signed in as <strong>${of.user.name ?? of.user.email ?? 'yourself'}</strong>.
${of.client} asks for:</p>
<ul>${of.scope.map((name) => html`<li>${MEANINGS[name] ?? name}</li>`)}</ul>
<form method="post" action="/oauth2/authorize/confirm">
${of.csrf}
${hidden('query', of.query)}
<div class="actions">
<button type="submit" name="decision" value="allow">Continue</button>
<button type="submit" name="decision" value="deny" class="second">Cancel</button>
</div>
</form>
</div>`,
})

import { type Html, html } from '../http/html.ts'
import { alert, hiddenFields, type Page } from '../http/page.ts'
import { purposeOf } from './asking.ts'

export type SignInForm = {
  csrf: Html
  /** Of the issuer: where the password goes. */
  host: string
  return_to: string | undefined
  email: string | undefined
  /** The name of the application that sent the user here. */
  asking: string | undefined
  /** The browser has a session, and its user is to prove it again. */
  again: boolean
}

const signInBody = (
  { csrf, host, return_to, email, asking, again }: SignInForm,
  fault?: string,
): Html => html`
<div class="card">
<h1>${again ? 'Sign in again' : 'Sign in'}</h1>
<p>at <strong>${host}</strong>${leadsTo(return_to, asking)}</p>
${fault !== undefined && alert(fault)}
${again && html`<p>${isAuthorization(return_to) ? 'The application asks you to confirm that it is you.' : 'Confirm that it is you.'}</p>`}
<form method="post" action="/sign-in">
${csrf}
${hiddenFields({ return_to, prompt: again ? 'login' : undefined })}
<label for="email">E-mail address</label>
<input id="email" name="email" type="email" autocomplete="username" required maxlength="320"
  value="${email ?? ''}"${!email && html` autofocus`}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
  maxlength="1024"${email !== undefined && email !== '' && html` autofocus`}${fault !== undefined && html` aria-describedby="alert"`}>
<p><button type="submit">Sign in</button></p>
</form>
<p class="soft">Ask your administrator if you cannot sign in.</p>
</div>`

function leadsTo(returnTo: string | undefined, asking: string | undefined): Html | undefined {
  if (asking !== undefined) return html`, to continue to <strong>${asking}</strong>`
  const purpose = purposeOf(returnTo)
  return purpose === undefined ? undefined : html`, ${purpose}`
}

const isAuthorization = (returnTo: string | undefined) =>
  returnTo?.startsWith('/oauth2/authorize') ?? false

export const signInPage = (form: SignInForm, fault?: { text: string; status: number }): Page => ({
  title: fault ? 'Could not sign in' : 'Sign in',
  status: fault?.status ?? 200,
  body: signInBody(form, fault?.text),
  leadsAway: isAuthorization(form.return_to),
})

export const signOutPage = (csrf: Html, { name, email }: Who): Page => ({
  title: 'Sign out?',
  body: html`
<div class="card">
<h1>Sign out?</h1>
<p>You are signed in${(name ?? email) !== null && html` as <strong>${name ?? email ?? ''}</strong>`}.
Your agents stop as well, but for those that you allowed to go on while you are signed out.</p>
<form method="post" action="/oauth2/logout">
${csrf}
<div class="actions">
<button type="submit">Sign out</button>
<a class="button second" href="/account">Stay signed in</a>
</div>
</form>
</div>`,
})

export const signedOutPage: Page = {
  title: 'Signed out',
  body: html`
<div class="card">
<h1>You are signed out</h1>
<p>You can close this page, or <a href="/sign-in">sign in again</a>.</p>
</div>`,
}

type Who = { name: string | null; email: string | null }

import { describeDetails, describeScope } from '../audiences/described.ts'
import { effectiveStatus } from '../delegations/delegation.ts'
import { detailsList } from '../http/details-list.ts'
import { type Html, html } from '../http/html.ts'
import { instant } from '../http/instant.ts'
import type { Page } from '../http/page.ts'
import { hostOf } from '../oauth/uri.ts'
import { allowedResources, reachedResources } from '../policy/ceiling.ts'
import { leavingOf, leavingText } from '../policy/leaving.ts'
import type { ActingAgent } from './queries.ts'

export type AccountView = {
  account: string
  acting: ActingAgent[]
  past: ActingAgent[]
  /** Where else the user is signed in. */
  otherPlaces: readonly { since: Date }[]
  stopped: boolean
  now: Date
  csrf: Html
}

/** Which agents act for the user: where, with which rights, since when; and a button that stops each. */
export function accountPage(view: AccountView): Page {
  const { acting, past, csrf, now } = view
  return {
    title: 'Your agents',
    wide: true,
    body: html`<div class="card">
<h1>Agents that act for you</h1>
<p>Signed in as ${view.account}.</p>
${view.stopped && html`<p class="done" role="status">The agent was stopped. It gets nothing more for you there, and the service is told where it can be.</p>`}
${acting.length === 0 && html`<p>No agent acts for you.</p>`}
</div>
${acting.map((one) => actingCard(one, csrf))}
${past.length > 0 && pastAgents(past, now)}
${signedInCard(view)}`,
  }
}

const actingCard = (one: ActingAgent, csrf: Html): Html => html`<section class="card">
<h2>${one.agent} at ${one.audience}</h2>
${standing(one)}
<dl>
${one.purpose !== null && html`<dt>Purpose</dt><dd>${one.purpose}</dd>`}
<dt>Where</dt><dd>${one.audience} (${hostOf(one.issuer)})</dd>
<dt>Resources</dt><dd>${resourcesText(one)}</dd>
<dt>Rights</dt>${rights(one)}
${particulars(one)}
<dt>What ${one.audience} is told about you</dt>${told(one).map((words) => html`<dd>${words}</dd>`)}
<dt>How long</dt><dd>${duration(one)}</dd>
<dt>When you are signed out</dt><dd>${one.offline ? 'it goes on, also while you are signed out' : 'it stops'}</dd>
<dt>Since</dt><dd>${instant(one.created_at)}${SOURCES[one.source]}</dd>
<dt>Last used</dt><dd>${one.last_minted_at ? instant(one.last_minted_at) : 'never'}</dd>
</dl>
<form method="post" action="/account/delegations/${one.id}/stop">${csrf}
<button class="grave" aria-label="Stop ${one.agent} at ${one.audience}">Stop</button>
</form>
</section>
`

function resourcesText({ resources, entitlement_id, entitled, catalogue }: ActingAgent): string {
  if (resources !== null) return resources.join(', ')
  const everything = 'everything there that the agent is admitted to'
  const now = entitlement_id
    ? allowedResources({ resources: catalogue }, { resources: entitled })
    : []
  return now.length > 0 ? `${everything}, at the moment ${now.join(', ')}` : everything
}

/** In the words of the service, as on the page that asked. */
function rights({ scopes, resources, entitled, catalogue }: ActingAgent): Html | Html[] {
  if (scopes.length === 0) return html`<dd>none in particular</dd>`
  const reached = reachedResources({ resources: catalogue }, resources ?? entitled ?? [])
  return scopes.map((name) => {
    const words = describeScope(name, reached)
    return html`<dd>${name}${words !== undefined && html`: ${words}`}</dd>`
  })
}

/** What it wants to know and may be told. What it came to want since is asked for first, or not told. */
function told({ profile, wanted, claims, aud_sub, aud_tenant, ...user }: ActingAgent): string[] {
  const account = aud_sub === null ? undefined : { aud_sub, aud_tenant }
  return leavingOf({ user, audience: { profile, claims: wanted }, account })
    .filter(({ claim }) => claim === 'identifier' || claims.includes(claim))
    .map(leavingText)
}

/** Places shown by the time of their sign-in; nothing else is known of them. */
const MOST_PLACES = 10

const signedInCard = ({ acting, otherPlaces, csrf }: AccountView): Html => html`<div class="card">
<h2>Where you are signed in</h2>
<p>${placesText(otherPlaces.length)}</p>
${otherPlaces.length > 0 && otherSignIns(otherPlaces)}
${acting.length > 0 && html`<p>${signOutText(acting)}</p>`}
<div class="actions">
<form method="post" action="/sign-out">${csrf}<button class="second">Sign out</button></form>
${otherPlaces.length > 0 && html`<form method="post" action="/sign-out/everywhere">${csrf}<button class="grave">Sign out everywhere</button></form>`}
</div>
</div>`

const otherSignIns = (places: AccountView['otherPlaces']): Html => html`<ul>
${places.slice(0, MOST_PLACES).map(({ since }) => html`<li>signed in ${instant(since)}</li>`)}
${places.length > MOST_PLACES && html`<li>and ${places.length - MOST_PLACES} more</li>`}
</ul>
<p>If one of them is not yours, sign out everywhere, and ask your administrator for a new password.</p>`

/** What was allowed entry by entry. An administrator's word for everyone names none, and means every type. */
function particulars({ authorization_details: details, catalogue }: ActingAgent): Html | undefined {
  if (details === null) {
    const known = catalogue.some(({ authorization_details_types: types }) => types?.length)
    return known
      ? html`<dt>In particular</dt><dd>whatever the agent is admitted to</dd>`
      : undefined
  }
  if (details.length === 0) return undefined
  const list = detailsList(describeDetails(details, catalogue), 'The service gives no description.')
  return html`<dt>In particular</dt><dd>${list}</dd>`
}

const pastAgents = (past: ActingAgent[], now: Date): Html => html`<details class="card">
<summary>No longer (${past.length})</summary>
<ul>${past.map(
  (one) => html`<li><strong>${one.agent} at ${one.audience}</strong><br>
<span class="soft">${one.scopes.length > 0 && html`${one.scopes.join(', ')}; `}since ${instant(one.created_at)};
${ending(one, now)}${tellingOf(one)}</span></li>
`,
)}</ul>
</details>`

const SOURCES = {
  user: '',
  admin: ', set up by an administrator',
  policy: ', set up by an administrator for everyone',
} as const

/** A delegation outlives a pause of the agent or of the service; while it lasts nothing can be used. */
function standing({ agent_status, audience_status }: ActingAgent): Html | undefined {
  if (agent_status !== 'active')
    return html`<p class="soft">This agent is switched off at the moment.</p>`
  if (audience_status !== 'active')
    return html`<p class="soft">This service is switched off at the moment.</p>`
  return undefined
}

function duration({ mode, expires_at }: ActingAgent): Html {
  const text = mode === 'once' ? 'only once' : 'until you stop it'
  return expires_at ? html`${text}, at the latest until ${instant(expires_at)}` : html`${text}`
}

function ending(one: ActingAgent, now: Date): Html {
  const status = effectiveStatus(one, now)
  if (status === 'consumed') {
    return html`used${one.consumed_at !== null && html` ${instant(one.consumed_at)}`}`
  }
  if (status === 'expired')
    return html`ran out${one.expires_at !== null && html` ${instant(one.expires_at)}`}`
  const who =
    one.end_reason === 'user'
      ? 'stopped by you'
      : one.end_reason === 'agent'
        ? 'given up by the agent'
        : one.end_reason === 'replaced'
          ? 'replaced by a newer decision'
          : 'ended by an administrator'
  return html`${who}${one.revoked_at !== null && html` ${instant(one.revoked_at)}`}`
}

/** What was given before the end lives on at the service until that knows. */
function tellingOf({ audience, told }: ActingAgent): Html | undefined {
  if (told === null) return undefined
  if (told.at !== null)
    return html`; ${audience} confirmed ${instant(new Date(told.at))} that it knows`
  if (told.status === 'queued') return html`; ${audience} is being told`
  return html`; ${audience} could not be told: ask it to end what it gave the agent`
}

const signOutText = (acting: ActingAgent[]) =>
  acting.some(({ offline }) => offline)
    ? 'When you sign out, your agents stop, but for those that go on while you are signed out: each of them has its own button.'
    : 'When you sign out, your agents stop, until they have sent you here to sign in again.'

const placesText = (others: number) =>
  others === 0
    ? 'You are signed in here and nowhere else.'
    : `You are signed in here and at ${others === 1 ? 'one other place' : `${others} other places`}:`

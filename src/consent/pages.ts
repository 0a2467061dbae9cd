import { detailsList } from '../http/details-list.ts'
import { type Html, html } from '../http/html.ts'
import { instant } from '../http/instant.ts'
import { alert, hidden, type Page } from '../http/page.ts'
import { leavingText } from '../policy/leaving.ts'
import type { Choice } from './choice.ts'
import { latestEnd } from './end-date.ts'
import { type ConsentQuestion, questionDigest } from './question.ts'
import { type Answered, type Place, type Standing, standingOf } from './standing.ts'
import { ASK, DECIDED } from './text.ts'

type Names = { agent: string; audience: string }

/** The question, with everything that GR-03 wants named; again after an answer that cannot be taken. */
export function consentPage(
  question: ConsentQuestion,
  form: { action: string; csrf: Html; now: Date },
  answered?: Answered,
): Page {
  const { agent, audience, resources, scopes, details } = question
  const names = { agent: agent.name, audience: audience.name }
  const standing = standingOf(question, answered)
  const { fault } = standing
  return {
    title: fault?.title ?? ASK.title(names),
    status: fault?.status ?? 200,
    body: html`<form class="card" method="post" action="${form.action}">
${form.csrf}${hidden('shown', questionDigest(question))}
<h1>${ASK.title(names)}</h1>
${alertAt('top', standing)}
<p>${ASK.lead(names)}</p>
<dl>
<dt>${ASK.account}</dt><dd>${question.account}</dd>
<dt>${ASK.agent}</dt><dd>${agent.name}</dd>
<dt>${ASK.agentHost}</dt><dd>${agent.host ?? ASK.noAgentHost}</dd>
${agent.purpose !== null && html`<dt>${ASK.purpose}</dt><dd>${agent.purpose}</dd>`}
<dt>${ASK.audience}</dt><dd>${audience.name} (${audience.host})</dd>
<dt>${ASK.resources}</dt>
${resources ? resources.map((resource) => html`<dd>${resource}</dd>`) : everythingOf(question, names)}
</dl>
${scopes.length > 0 && scopeBoxes(scopes, standing)}
${details.length > 0 && html`<h2>${ASK.details}</h2><p>${ASK.together}</p>${detailsList(details, ASK.undescribed)}`}
${scopes.length === 0 && details.length === 0 && html`<p>${ASK.noScopes}</p>`}
<h2>${ASK.claims(names)}</h2>
<ul>${question.leaving.map((one) => html`<li>${leavingText(one)}</li>`)}</ul>
${modeButtons(standing)}
${moreChoices(question, names, standing, form.now)}
<p class="soft">${ASK.replaces} ${ASK.stopAt} <a href="/account">${ASK.agentsPage}</a>.</p>
<div class="actions">
<button name="decision" value="allow">${ASK.allow}</button>
<button name="decision" value="deny" class="second">${ASK.deny}</button>
</div>
</form>`,
  }
}

/** After the decision. Nothing leads anywhere by itself: the agent asks again on its own. */
export function decidedPage(choice: Choice, names: Names): Page {
  const allowed = choice.decision === 'allow'
  const title = allowed ? DECIDED.allowedTitle : DECIDED.deniedTitle
  return {
    title,
    body: html`<div class="card">
<h1${allowed && html` class="done"`}>${title}</h1>
<p role="status">${allowed ? DECIDED.allowed(names) : DECIDED.denied(names)}</p>
${allowed && choice.expires_at !== null && html`<p>${choice.offline ? DECIDED.offlineUntil : DECIDED.until} ${instant(choice.expires_at)}.</p>`}
<p><a href="/account">${DECIDED.account}</a></p>
</div>`,
  }
}

const everythingOf = ({ everything }: ConsentQuestion, names: Names): Html => html`<dd>
${ASK.everything(names)}${
  everything.length > 0 &&
  html`. ${ASK.atTheMoment}
<ul>${everything.map((resource) => html`<li>${resource}</li>`)}</ul>`
}
</dd>`

const scopeBoxes = (scopes: ConsentQuestion['scopes'], standing: Standing): Html => html`<fieldset>
<legend>${ASK.scopes}</legend>
${alertAt('scope', standing)}
${scopes.map(
  ({ name, description }, index) => html`<label class="choice">
<input type="checkbox" name="scope" value="${name}"${(standing.scopes?.includes(name) ?? true) && html` checked`}${index === 0 && faulty('scope', standing)}>
<span>${name}<br><span class="soft">${description ?? ASK.undescribed}</span></span>
</label>
`,
)}</fieldset>`

const modeButtons = (standing: Standing): Html => html`<fieldset>
<legend>${ASK.mode}</legend>
${alertAt('mode', standing)}
${(['always', 'once'] as const).map(
  (mode, index) => html`<label class="choice">
<input type="radio" name="mode" value="${mode}"${standing.mode === mode && html` checked`}${index === 0 && faulty('mode', standing)}>
${ASK[mode]}</label>
`,
)}</fieldset>`

const endField = (
  standing: Standing,
  now: Date,
): Html => html`<label for="expires_at">${ASK.end}</label>
${alertAt('end', standing)}
<input type="date" id="expires_at" name="expires_at" value="${standing.end}"
 min="${day(now)}" max="${day(latestEnd(now))}"${faulty('end', standing, 'end-means')}>
<p class="soft" id="end-means">${ASK.endMeans}</p>`

/** What most leave as it is, out of the way of the buttons; in sight as soon as something is said there. */
function moreChoices(question: ConsentQuestion, names: Names, standing: Standing, now: Date): Html {
  const { fault, end, offline } = standing
  const open = end !== '' || offline || fault?.at === 'end' || fault?.at === 'offline'
  return html`${question.offline && html`<p class="soft">${ASK.stops}</p>`}
<details${open && html` open`}>
<summary>${question.offline ? ASK.more : ASK.moreWithout}</summary>
${endField(standing, now)}
${question.offline && offlineBox(names, question.offline, standing)}
</details>`
}

/** Unticked: to go on while nobody watches is asked for, not assumed. */
const offlineBox = (
  names: Names,
  { max_auth_age }: NonNullable<ConsentQuestion['offline']>,
  standing: Standing,
): Html => html`<fieldset>
<legend>${ASK.offline}</legend>
${alertAt('offline', standing)}
<label class="choice">
<input type="checkbox" name="offline" value="on"${standing.offline && html` checked`}${faulty('offline', standing)}>
<span>${ASK.goOn(names)}<br><span class="soft">${ASK.goOnMeans}
${max_auth_age !== null && ASK.freshness(names, max_auth_age)}</span></span>
</label>
</fieldset>`

const alertAt = (place: Place, { fault }: Standing): Html | undefined =>
  fault?.at === place ? alert(fault.text, { focus: place === 'top' }) : undefined

/** Attributes of the field at fault: the focus goes there, and the fault is read out with it. */
function faulty(place: Place, { fault }: Standing, described?: string): Html | undefined {
  if (fault?.at === place) {
    const by = ['alert', described].filter(Boolean).join(' ')
    return html` autofocus aria-describedby="${by}"`
  }
  return described === undefined ? undefined : html` aria-describedby="${described}"`
}

const day = (at: Date): string => at.toISOString().slice(0, 10)

import { MOST_YEARS, OFFLINE_DAYS } from './end-date.ts'

/**
 * Every word of the consent page that a user agrees to, but for those of what leaves (policy/leaving.ts). A
 * delegation keeps the version it was given under: whoever changes what a sentence means gives the text a new version.
 */
export const TEXT_VERSION = '2026-11-24'

type Names = { agent: string; audience: string }

export const ASK = {
  title: ({ agent }: Names) => `Allow ${agent}?`,
  lead: ({ agent, audience }: Names) =>
    `${agent} is an AI agent. It asks to act for you at ${audience}.`,
  account: 'Your account',
  agent: 'Agent',
  agentHost: 'Web address of the agent',
  noAgentHost: 'no web address',
  purpose: 'What the agent says it is for',
  audience: 'Where it would act',
  resources: 'What it would reach there',
  everything: ({ audience }: Names) =>
    `everything of ${audience} that the agent is admitted to, now or later`,
  atTheMoment: 'At the moment:',
  scopes: 'What it may do',
  noScopes: 'The agent asks for no particular right: what it may do is up to the service.',
  details: 'What it asks for in particular',
  together: 'With “Allow” you allow all of this.',
  undescribed: 'The service gives no description.',
  claims: ({ audience }: Names) => `What ${audience} is told about you`,
  mode: 'For how long',
  always: 'Until I stop it',
  once: 'Only once',
  more: 'End date, and when you are signed out',
  moreWithout: 'End date',
  stops: 'The agent stops when you sign out, unless you say otherwise here:',
  end: 'End date, if you want one',
  endMeans:
    'The agent is stopped when that day ends (UTC). Without an end date, “Until I stop it” lasts until you or an administrator end it; “Only once” ends when the agent has used it.',
  offline: 'When you are signed out',
  goOn: ({ agent }: Names) => `${agent} may go on acting for me when I am signed out`,
  goOnMeans: `Leave this unticked and the agent stops when you sign out, and when you have been signed in for so long that you are signed out by itself. Tick it and the agent may go on until the end date, without you being there. If you give no end date, that is ${OFFLINE_DAYS} days from now.`,
  freshness: ({ audience }: Names, seconds: number) =>
    `${audience} takes nobody who signed in more than ${inWords(seconds)} ago: then the agent has to ask you to sign in again in any case.`,
  replaces: 'It takes the place of anything you allowed this agent there before.',
  stopAt: 'You can see it and stop it at any time on',
  agentsPage: 'your agents page',
  allow: 'Allow',
  deny: 'Do not allow',
} as const

/** A length of time in its largest whole unit. */
function inWords(seconds: number): string {
  const [unit, name] =
    [[24 * 3600, 'day'] as const, [3600, 'hour'] as const, [60, 'minute'] as const].find(
      ([size]) => seconds % size === 0 && seconds >= size,
    ) ?? ([1, 'second'] as const)
  const count = seconds / unit
  return `${count} ${name}${count === 1 ? '' : 's'}`
}

export const DECIDED = {
  allowedTitle: 'Allowed',
  allowed: ({ agent, audience }: Names) =>
    `${agent} may now act for you at ${audience}. You can return to the agent.`,
  until: 'It ends at the latest',
  offlineUntil: 'It goes on while you are signed out, until',
  deniedTitle: 'Not allowed',
  denied: ({ agent, audience }: Names) =>
    `${agent} may not act for you at ${audience}. You can return to the agent.`,
  account: 'See which agents act for you',
} as const

/** Why a question cannot be answered, or not like this: status, title, text. */
export const REFUSALS = {
  already_decided: [
    409,
    'This was already decided',
    'You have answered this question before. You can return to the agent, or see your agents on your account page.',
  ],
  expired: [
    410,
    'This question has expired',
    'Return to the agent and let it ask again if you want to allow it.',
  ],
  ended: [
    410,
    'This can no longer be allowed',
    'The agent, the service or the connection between them is not available any more.',
  ],
  changed: [
    409,
    'What can be allowed has changed',
    'Nothing was allowed: something has become different since the page was shown.',
  ],
  no_decision: [400, 'No decision was made', 'Choose “Allow” or “Do not allow”.'],
  no_mode: [400, 'No duration was chosen', 'Choose for how long.'],
  no_scope: [400, 'No right was chosen', 'Choose at least one, or choose “Do not allow”.'],
  unknown_scope: [400, 'This right was not asked for', 'Choose among the rights shown here.'],
  unknown_offline: [
    400,
    'This choice cannot be read',
    'Tick the box for when you are signed out, or leave it unticked.',
  ],
  offline_of_no_use: [
    400,
    'This cannot be chosen here',
    'This agent has no way to act while you are signed out. Choose again.',
  ],
  end_malformed: [
    400,
    'The end date cannot be read',
    'Give a date like 2027-01-31, or leave the field empty.',
  ],
  end_past: [
    400,
    'The end date has passed',
    'Give a date in the future, or leave the field empty.',
  ],
  end_too_far: [
    400,
    'The end date is too far away',
    `Give a date within the next ${MOST_YEARS} years, or leave the field empty.`,
  ],
} as const satisfies Record<string, readonly [number, string, string]>
export type Refusal = keyof typeof REFUSALS

/** The page is shown again, with what is to be put right. */
export const TRY_AGAIN = {
  changed: 'Nothing was allowed, and the question is another than before: read it again.',
} as const

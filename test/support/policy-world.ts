// A world in which everything is granted, for tests to take one thing away from.
import type { Decision, Knowledge, Question } from '../../src/policy/decide.ts'
import { decide } from '../../src/policy/decide.ts'

export const NOW = new Date('2026-11-21T16:01:40Z')
export const at = (seconds: number) => new Date(NOW.getTime() + seconds * 1000)
export const API = 'https://api.paperclip.example/'
export const FILES = 'https://files.paperclip.example/'

export const known = {
  agent: { client_metadata_url: null },
  user: {
    id: 'usr_1',
    tenant_id: 'ten_1',
    status: 'active',
    email: 'kim@orbit.example',
    email_verified: true,
    phone_number: null,
    phone_verified: false,
    name: 'Kim',
    version: '1',
  },
  audience: {
    id: 'aud_1',
    issuer: 'https://auth.paperclip.example',
    profile: 'idjag',
    status: 'active',
    resources: [
      {
        identifier: API,
        scopes: [{ name: 'docs.read' }, { name: 'docs.write' }],
        authorization_details_types: [{ type: 'payment' }, { type: 'account' }],
      },
      {
        identifier: FILES,
        scopes: [{ name: 'files.read' }],
        authorization_details_types: [{ type: 'transfer' }],
      },
    ],
    default_scopes: [],
    default_resources: [],
    claims: [],
    max_auth_age: null,
    acr_values: [],
    dpop_required: false,
    event_names_agent: false,
    id_jag_lifetime: null,
    id_jag_signing_alg: 'ES256',
    version: '1',
  },
  entitlement: {
    id: 'ent_1',
    client_id: 'client-at-paperclip',
    scopes: ['docs.read', 'docs.write', 'files.read'],
    resources: null,
    authorization_details_types: null,
    consent: 'user',
    expires_at: null,
    version: '1',
  },
  delegation: {
    id: 'dlg_1',
    scopes: ['docs.read', 'docs.write', 'files.read'],
    resources: null,
    authorization_details: null,
    claims: [],
    mode: 'always',
    offline: false,
    source: 'user',
    sub_asserted: 'usr_1',
    expires_at: null,
    version: '1',
  },
  account: undefined,
  block: undefined,
  actors: [],
  authentication: { auth_time: at(-60), acr: null, live: true },
  jkt: undefined,
  lifetime: 300,
} satisfies Knowledge as Knowledge & {
  audience: NonNullable<Knowledge['audience']>
  entitlement: NonNullable<Knowledge['entitlement']>
  delegation: NonNullable<Knowledge['delegation']>
}

const asked: Question = {
  audiences: [known.audience.issuer],
  resources: [],
  scope: 'docs.read',
  details: [],
}

type Records = 'audience' | 'entitlement' | 'delegation' | 'authentication'
/** Of these records the members that are otherwise; of the rest the whole. */
export type Otherwise = Partial<Omit<Knowledge, Records>> & {
  [R in Records]?: Partial<NonNullable<Knowledge[R]>> | undefined
}

/** The decision of that world, but for what is said otherwise. */
export function ask(question: Partial<Question> = {}, otherwise: Otherwise = {}): Decision {
  const world: Knowledge = {
    ...known,
    ...(otherwise as Partial<Knowledge>),
    audience: { ...known.audience, ...otherwise.audience },
    entitlement: { ...known.entitlement, ...otherwise.entitlement },
    delegation:
      'delegation' in otherwise && otherwise.delegation === undefined
        ? undefined
        : { ...known.delegation, ...otherwise.delegation },
    authentication: { ...known.authentication, ...otherwise.authentication },
  }
  return decide({ ...asked, ...question }, world, NOW)
}

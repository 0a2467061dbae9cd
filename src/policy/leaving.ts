import type { Profile } from '../db/tables.ts'
import { type ClaimName, wantedClaims } from '../oauth/profile.ts'
import { tellableClaims } from './decide.ts'

/** Something about the user that the audience wants to be told. */
export type Leaving =
  | { claim: 'identifier' | 'tenant' | 'act' }
  /** Without a value it does not leave now, but will once there is one: the consent covers it. */
  | { claim: 'email' | 'phone' | 'name' | 'aud_sub' | 'aud_tenant'; value: string | undefined }

export type LeavingFacts = {
  user: {
    name: string | null
    email: string | null
    email_verified_at: Date | null
    phone_number: string | null
    phone_verified_at: Date | null
  }
  audience: { profile: Profile; claims: string[] }
  /** Theirs at the audience, where one was entered. */
  account: { aud_sub: string; aud_tenant: string | null } | undefined
}

/** All that the audience wants, each with the value that an ID-JAG made now would tell it. */
export function leavingOf({ user, audience, account }: LeavingFacts): Leaving[] {
  const now = tellableClaims(
    {
      ...user,
      email_verified: user.email_verified_at !== null,
      phone_verified: user.phone_verified_at !== null,
    },
    audience,
    account,
  )
  const values = {
    email: user.email,
    phone: user.phone_number,
    name: user.name,
    aud_sub: account?.aud_sub,
    aud_tenant: account?.aud_tenant,
  }
  return [
    { claim: 'identifier' },
    ...wantedClaims(audience).map((claim) =>
      claim === 'tenant' || claim === 'act'
        ? { claim }
        : { claim, value: (now.includes(claim) && values[claim]) || undefined },
    ),
  ]
}

/** In words that a user agrees to: whoever changes what they mean gives consent/text.ts a new version. */
export function leavingText(leaving: Leaving): string {
  if (!('value' in leaving)) return WORDS[leaving.claim]
  const { claim, value } = leaving
  return value === undefined ? LATER[claim] : `${WORDS[claim]}: ${value}`
}

const WORDS: Record<ClaimName | 'identifier', string> = {
  identifier: 'An identifier of your account here, and when and how you signed in',
  email: 'Your e-mail address',
  phone: 'Your phone number',
  name: 'Your name',
  tenant: 'The organisation that your account belongs to',
  act: 'That it is this agent who acts for you',
  aud_sub: 'Your account there',
  aud_tenant: 'The organisation that your account there belongs to',
}

const LATER = {
  email: 'Your e-mail address, as soon as one is verified',
  phone: 'Your phone number, as soon as one is verified',
  name: 'Your name, as soon as it is known here',
  aud_sub: 'Your account there, as soon as it is known here',
  aud_tenant: 'The organisation that your account there belongs to, as soon as it is known here',
}

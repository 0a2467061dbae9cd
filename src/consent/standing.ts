import type { FormFields } from '../http/form.ts'
import type { FormFault } from './choice.ts'
import { type ConsentQuestion, questionDigest } from './question.ts'
import { REFUSALS, TRY_AGAIN } from './text.ts'

/** An answer that cannot be taken: the form is shown again, as its user left it. */
export type Answered = { fields: FormFields; fault: FormFault }

/** How the form stands. */
export type Standing = {
  /** Undefined: all that can be. */
  scopes: readonly string[] | undefined
  mode: 'always' | 'once'
  offline: boolean
  end: string
  /** What is to be put right, said where that can be done. */
  fault: { at: Place; status: number; title: string; text: string } | undefined
}
export type Place = 'top' | 'scope' | 'mode' | 'end' | 'offline'

const FIRST = { scopes: undefined, mode: 'always', offline: false, end: '' } as const

export function standingOf(question: ConsentQuestion, answered: Answered | undefined): Standing {
  if (!answered) return { ...FIRST, fault: undefined }
  const { fields, fault } = answered
  const [status, title, text] = REFUSALS[fault]
  // What was chosen is kept for the question that it answers, and for no other.
  if (fields.shown !== questionDigest(question)) {
    const words = `${title}. ${TRY_AGAIN.changed}`
    return { ...FIRST, fault: { at: 'top', status, title, text: words } }
  }
  const at = placeOf(fault, question)
  return { ...kept(fields), fault: { at, status, title, text: `${title}. ${text}` } }
}

const kept = ({ scope, mode, offline, expires_at }: FormFields) => ({
  scopes: [scope ?? []].flat(),
  mode: mode === 'once' ? ('once' as const) : FIRST.mode,
  offline: offline === 'on',
  end: typeof expires_at === 'string' ? expires_at : FIRST.end,
})

const PLACES: Record<FormFault, Place> = {
  no_decision: 'top',
  no_scope: 'scope',
  unknown_scope: 'scope',
  no_mode: 'mode',
  unknown_offline: 'offline',
  end_malformed: 'end',
  end_past: 'end',
  end_too_far: 'end',
}

/** Not every question has boxes for scopes, nor the one for going on alone. */
function placeOf(fault: FormFault, { scopes, offline }: ConsentQuestion): Place {
  const at = PLACES[fault]
  const missing = (at === 'scope' && scopes.length === 0) || (at === 'offline' && !offline)
  return missing ? 'top' : at
}

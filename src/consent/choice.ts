import type { FormFields } from '../http/form.ts'
import { type EndFault, offlineEnd, readEnd } from './end-date.ts'
import type { Refusal } from './text.ts'

/** What the user chose on the page. */
export type Choice =
  | { decision: 'deny' }
  | {
      decision: 'allow'
      mode: 'once' | 'always'
      scopes: string[]
      /** The agent may go on while its user is signed out; then there is an end. */
      offline: boolean
      expires_at: Date | null
      /** Digest of the question that the page showed. */
      shown: string | undefined
    }
export type ReadChoice = { choice: Choice } | { refusal: FormFault }

/** What the user can put right on the page itself. */
export type FormFault = Extract<
  Refusal,
  'no_decision' | 'no_mode' | 'no_scope' | 'unknown_scope' | 'unknown_offline' | EndFault
>

/** What a box that is ticked may say: ours, and what others would write by hand. */
const TICKED: readonly unknown[] = ['on', 'true', 'yes', '1']

/** Reads the form against the scopes that were asked for: nothing else can be allowed. */
export function readChoice(fields: FormFields, asked: readonly string[], now: Date): ReadChoice {
  const { decision, mode } = fields
  if (decision === 'deny') return { choice: { decision } }
  if (decision !== 'allow') return { refusal: 'no_decision' }
  if (mode !== 'once' && mode !== 'always') return { refusal: 'no_mode' }
  const checked = new Set([fields.scope ?? []].flat())
  if ([...checked].some((scope) => !asked.includes(scope))) return { refusal: 'unknown_scope' }
  const scopes = asked.filter((scope) => checked.has(scope))
  if (asked.length > 0 && scopes.length === 0) return { refusal: 'no_scope' }

  const offline = fields.offline !== undefined
  if (offline && !TICKED.includes(fields.offline)) return { refusal: 'unknown_offline' }
  const end = fields.expires_at
  if (Array.isArray(end)) return { refusal: 'end_malformed' }
  const expires_at = end === undefined ? (offline ? offlineEnd(now) : null) : readEnd(end, now)
  if (typeof expires_at === 'string') return { refusal: expires_at }

  const shown = typeof fields.shown === 'string' ? fields.shown : undefined
  return { choice: { decision, mode, scopes, offline, expires_at, shown } }
}

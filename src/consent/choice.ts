import type { FormFields } from '../http/form.ts'
import { notYet, type Refusal } from './text.ts'

/** What the user chose on the page. */
export type Choice =
  | { decision: 'deny' }
  | {
      decision: 'allow'
      mode: 'once' | 'always'
      scopes: string[]
      /** Digest of the question that the page showed. */
      shown: string | undefined
    }
export type ReadChoice =
  | { choice: Choice }
  | { refusal: Refusal }
  | { unsupported: ReturnType<typeof notYet> }

/** Fields of a later version of the page. Ignoring one would grant more than its sender meant. */
const NOT_YET = ['offline', 'expires_at']

/** Reads the form against the scopes that were asked for: nothing else can be allowed. */
export function readChoice(fields: FormFields, asked: readonly string[]): ReadChoice {
  const early = NOT_YET.find((name) => fields[name] !== undefined)
  if (early !== undefined) return { unsupported: notYet(early) }
  const { decision, mode } = fields
  if (decision === 'deny') return { choice: { decision } }
  if (decision !== 'allow') return { refusal: 'no_decision' }
  if (mode !== 'once' && mode !== 'always') return { refusal: 'no_mode' }
  const checked = new Set([fields.scope ?? []].flat())
  if ([...checked].some((scope) => !asked.includes(scope))) return { refusal: 'unknown_scope' }
  const scopes = asked.filter((scope) => checked.has(scope))
  if (asked.length > 0 && scopes.length === 0) return { refusal: 'no_scope' }
  const shown = typeof fields.shown === 'string' ? fields.shown : undefined
  return { choice: { decision, mode, scopes, shown } }
}

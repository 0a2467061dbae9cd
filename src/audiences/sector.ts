import { invalid } from '../http/problem.ts'
import { hostOf } from '../oauth/uri.ts'

type Given = {
  subject_type: 'public' | 'pairwise'
  sector?: string | null | undefined
  issuer: string
}

/**
 * Who are told the same pairwise `sub` (OIDC Core §8.1): audiences of one host, unless the administrator
 * says otherwise. A public one has no sector.
 * @throws {ProblemError} `validation_failed`
 */
export function sectorOf({ subject_type, sector, issuer }: Given): string | null {
  if (subject_type === 'pairwise') return sector ?? hostOf(issuer)
  if (sector != null) throw invalid('/sector', 'is for audiences with subject_type pairwise')
  return null
}

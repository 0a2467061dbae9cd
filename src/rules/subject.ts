/** OpenID Connect Core §2 bounds a `sub` so; what holds control characters or half a surrogate pair names nobody. */
export const SUBJECT_PATTERN = '^[^\\p{Cc}\\p{Cs}]{1,255}$'

const SUBJECT = new RegExp(SUBJECT_PATTERN, 'u')

export const isSubject = (value: unknown): value is string =>
  typeof value === 'string' && SUBJECT.test(value)

const UNIQUE_VIOLATION = '23505'

/** The name of the unique index or constraint that a write ran into; undefined for any other error. */
export function violatedUnique(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, constraint } = error as { code?: unknown; constraint?: unknown }
  return code === UNIQUE_VIOLATION ? String(constraint) : undefined
}

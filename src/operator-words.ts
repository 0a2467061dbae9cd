/** Errors whose message is written for the operator. */
const WRITTEN_FOR_THEM = new Set([
  'ConfigError',
  'EmbeddedPostgresError',
  'InUseError',
  'KeyEncryptionError',
  'CustodyError',
  'WrongClockError',
])

/** Wrong role or password, no such database, no free connection, not up yet. */
const REFUSED_BY_DATABASE = new Set(['28P01', '28000', '3D000', '53300', '57P03'])

/** What is wrong and what to do, for the operator. Undefined: only a stack trace or the bare message says more. */
export function inWords(error: unknown): string | undefined {
  const { name, code = '', syscall, message } = error as NodeJS.ErrnoException
  if (WRITTEN_FOR_THEM.has(name)) return message
  // Where a name has several addresses and none answers, the error names no call.
  if (code === 'ECONNREFUSED' || syscall === 'connect' || syscall === 'getaddrinfo') {
    return `the database does not answer (${code}): check DATABASE_URL`
  }
  if (REFUSED_BY_DATABASE.has(code)) return `the database refused: ${message}`
  // Forbidden; or no schema to work in, which is what a role without rights on it sees.
  if (code === '42501' || code === '3F000') {
    return `the database role may not do this (${message}): run npm run migrate with MIGRATION_DATABASE_URL set`
  }
  return undefined
}

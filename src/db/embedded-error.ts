/** What keeps the embedded database from running, in words for the operator who has to mend it. */
export class EmbeddedPostgresError extends Error {
  override name = 'EmbeddedPostgresError'
}

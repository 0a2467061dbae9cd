/** Why an ID-JAG was not taken, as the answer that says so. */
export type Refusal = {
  ok: false
  status: 400 | 401 | 503
  error: string
  /** For a client's developer: printable ASCII, and never a quote of what was sent. */
  error_description: string
  /** Members of the body beside these two, such as `max_age`. */
  members: Record<string, unknown>
  headers: Record<string, string>
}

export const refuse = (
  status: Refusal['status'],
  error: string,
  error_description: string,
  more: Partial<Pick<Refusal, 'members' | 'headers'>> = {},
): Refusal => ({ ok: false, status, error, error_description, members: {}, headers: {}, ...more })

/** A later one may be fine: the issuer knows whether the access was allowed again, or that of another agent ended. */
export const REVOKED =
  'The access was revoked since the assertion was made. Ask the issuer for a new one in a few seconds'

/** The JSON to answer with. */
export const refusalBody = ({ error, error_description, members }: Refusal) => ({
  error,
  error_description,
  ...members,
})

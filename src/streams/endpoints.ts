/** Where receivers call: told in `ssf-configuration`, and served by routes.ts. */
export const PATHS = {
  configuration: '/ssf/stream',
  status: '/ssf/status',
  addSubject: '/ssf/subjects/add',
  removeSubject: '/ssf/subjects/remove',
  verification: '/ssf/verify',
  poll: '/ssf/poll',
} as const

export const endpointsOf = (issuer: string) => ({
  /** What access tokens of receivers are for. */
  resource: `${issuer}/ssf`,
  configuration: `${issuer}${PATHS.configuration}`,
  status: `${issuer}${PATHS.status}`,
  addSubject: `${issuer}${PATHS.addSubject}`,
  removeSubject: `${issuer}${PATHS.removeSubject}`,
  verification: `${issuer}${PATHS.verification}`,
  poll: (streamId: string) => `${issuer}${PATHS.poll}/${streamId}`,
})

/** Names from the registries (RFC 6749, 7523, 8693, id-jag), written once. */
export const GRANT = {
  authorizationCode: 'authorization_code',
  refreshToken: 'refresh_token',
  tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
} as const

/** For receivers of Shared Signals alone, who are no agents. */
export const CLIENT_CREDENTIALS_GRANT = 'client_credentials'

export const TOKEN_TYPE = {
  idJag: 'urn:ietf:params:oauth:token-type:id-jag',
  idToken: 'urn:ietf:params:oauth:token-type:id_token',
  refreshToken: 'urn:ietf:params:oauth:token-type:refresh_token',
  accessToken: 'urn:ietf:params:oauth:token-type:access_token',
  jwt: 'urn:ietf:params:oauth:token-type:jwt',
} as const

export const JWT_BEARER_GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const ID_JAG_GRANT_PROFILE = 'urn:ietf:params:oauth:grant-profile:id-jag'
export const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** JOSE header `typ` of each kind of token; no two kinds share one (RFC 8725 §3.11, SE-10). */
export const TYP = {
  idJag: 'oauth-id-jag+jwt',
  idToken: 'JWT',
  accessToken: 'at+jwt',
  clientAssertion: 'client-authentication+jwt',
  actorToken: 'actor-token+jwt',
  dpopProof: 'dpop+jwt',
  seal: 'audit-seal+jwt',
  /** RFC 8417 §2.3. */
  securityEvent: 'secevent+jwt',
  logout: 'logout+jwt',
} as const

/**
 * What was given on the word of ID-JAGs for one `sub` is to be dropped: the official spelling of this event
 * first, then that of those who spell it otherwise (EV-04).
 */
export const REVOCATION_EVENTS = [
  'https://schemas.workos.com/events/agent/auth/identity/assertion/revoked',
  'https://schemas.workos.com/events/agent/identity/assertion/revoked',
] as const

/** Of an access token that its agent may trade for ID-JAGs, where that is on (TX-29). */
export const DELEGATE_SCOPE = 'delegate'

export const OPENID_SCOPES = ['openid', 'profile', 'email', 'phone', 'offline_access'] as const

/** The member of a revocation event that says which agent it is about, for apps that understand it. */
export const AGENT_MEMBER = 'urn:agent-idp:agent'

/** Of receivers of Shared Signals (CAEP Interoperability Profile). The second includes the first. */
export const SSF_SCOPES = ['ssf.read', 'ssf.manage'] as const
export type SsfScope = (typeof SSF_SCOPES)[number]

/** Subject identifiers (RFC 9493 §3.2) and delivery methods (RFC 8935 §1, RFC 8936 §1). */
export const DELIVERY_METHOD = { push: 'urn:ietf:rfc:8935', poll: 'urn:ietf:rfc:8936' } as const

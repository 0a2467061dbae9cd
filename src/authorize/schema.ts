import Type from 'typebox'

const optional = (description: string, example?: string) =>
  Type.Optional(Type.String({ description, ...(example ? { examples: [example] } : {}) }))

/**
 * The parameters of an authorization request, for the API reference. Nothing is checked by it: a fault
 * found here would be a page, and most of them have to go back to the client as a redirect (request.ts).
 */
export const AuthorizationParameters = Type.Object({
  response_type: Type.String({ description: '`code`, nothing else', examples: ['code'] }),
  client_id: Type.String({ description: 'The agent', examples: ['agt_7Q2M'] }),
  redirect_uri: Type.String({
    description: 'A registered one, exactly; on a loopback IP address the port may differ',
    examples: ['https://agent.example/callback'],
  }),
  scope: Type.String({
    description:
      '`openid`, and any of `profile email phone offline_access`; others are ignored. Where `DELEGATE_TOKENS` is on, also `delegate`',
    examples: ['openid offline_access'],
  }),
  code_challenge: Type.String({ description: 'PKCE, from every client (RFC 7636)' }),
  code_challenge_method: Type.String({ description: '`S256`, nothing else', examples: ['S256'] }),
  state: optional('Comes back unchanged'),
  nonce: optional('Goes into the ID token unchanged'),
  dpop_jkt: optional(
    'Thumbprint of a DPoP key: the code can then be redeemed with a proof by that key alone (RFC 9449 §10)',
    '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I',
  ),
  prompt: optional('`none`, or any of `login consent select_account`', 'login'),
  max_age: optional('Seconds: an older authentication is asked for again', '3600'),
  login_hint: optional('The address to fill into the sign-in page', 'kim@orbit.example'),
  id_token_hint: optional('An ID token of the user who is expected; it may have expired'),
  claims: optional('Only an essential `acr` is looked at, which cannot be met'),
  response_mode: optional('`query`, nothing else', 'query'),
})

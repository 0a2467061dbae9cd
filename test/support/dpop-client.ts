import * as oauth from 'oauth4webapi'
import { GRANT, TOKEN_TYPE } from '../../src/oauth/names.ts'
import { RESOURCE, type Story } from './story.ts'

/** A request that went out, and what came of it. */
export type Seen = { url: string; headers: Headers; status: number }
export type Asked<T> = { answer: T; asked: Seen[] }

export const loopback = { [oauth.allowInsecureRequests]: true }

/**
 * An agent that leaves all of DPoP to `oauth4webapi`. Each call asks once more when a nonce is wanted, as the
 * library tells its users to, and says which requests it took.
 */
export async function openDpopClient(server: oauth.AuthorizationServer, story: Story, alg: string) {
  const { agent, user, audience } = story
  const client: oauth.Client = { client_id: agent.client_id }
  const authentication = oauth.PrivateKeyJwt({
    key: agent.privateKey as oauth.CryptoKey,
    kid: String(agent.jwk?.kid),
  })
  const keyPair = await oauth.generateKeyPair(alg)
  const handle = oauth.DPoP(client, keyPair)
  const jkt = await handle.calculateThumbprint()

  const seen: Seen[] = []
  const options = (DPoP: oauth.DPoPHandle) => ({
    ...loopback,
    DPoP,
    async [oauth.customFetch](
      url: string,
      { headers, ...rest }: oauth.CustomFetchOptions<string, unknown>,
    ) {
      const answer = await fetch(url, { headers, ...(rest as RequestInit) })
      seen.push({ url, headers: new Headers(headers), status: answer.status })
      return answer
    },
  })
  async function withNonce<T>(
    ask: (given: ReturnType<typeof options>) => Promise<T>,
    DPoP = handle,
  ): Promise<Asked<T>> {
    const before = seen.length
    const given = options(DPoP)
    const answer = await ask(given).catch((error) => {
      if (!oauth.isDPoPNonceError(error)) throw error
      return ask(given)
    })
    return { answer, asked: seen.slice(before) }
  }

  return {
    client,
    handle,
    jkt,
    /** As it is after a restart: its key is old, what it has heard of nonces is nothing. */
    anew: () => oauth.DPoP(client, keyPair),

    redeem: (callback: URL, verifier: string) =>
      withNonce(async (given) =>
        oauth.processAuthorizationCodeResponse(
          server,
          client,
          await oauth.authorizationCodeGrantRequest(
            server,
            client,
            authentication,
            oauth.validateAuthResponse(server, client, callback, 'the state'),
            agent.redirect_uri,
            verifier,
            given,
          ),
          { expectedNonce: 'the nonce', requireIdToken: true },
        ),
      ),
    refresh: (token: string) =>
      withNonce(async (given) =>
        oauth.processRefreshTokenResponse(
          server,
          client,
          await oauth.refreshTokenGrantRequest(server, client, authentication, token, given),
        ),
      ),
    userinfo: (token: string, by = handle) =>
      withNonce(
        async (given) =>
          oauth.processUserInfoResponse(
            server,
            client,
            user.id,
            await oauth.userInfoRequest(server, client, token, given),
          ),
        by,
      ),
    exchange: (subject_token: string, subject_token_type: string, by = handle) =>
      withNonce(async (given) => {
        const fields = {
          requested_token_type: TOKEN_TYPE.idJag,
          audience: audience.issuer,
          resource: RESOURCE,
          scope: 'docs.read',
          subject_token,
          subject_token_type,
        }
        return oauth.processGenericTokenEndpointResponse(
          server,
          client,
          await oauth.genericTokenEndpointRequest(
            server,
            client,
            authentication,
            GRANT.tokenExchange,
            fields,
            given,
          ),
          { recognizedTokenTypes: { n_a: () => undefined } },
        )
      }, by),
  }
}

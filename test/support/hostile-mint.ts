import { KeyObject, type webcrypto } from 'node:crypto'
import { decodeJwt } from 'jose'
import { currentNonce, dpopNonceKeys } from '../../src/oauth/dpop-nonce.ts'
import { TYP } from '../../src/oauth/names.ts'
import { CLIENT, type FakeIssuer } from './fake-issuer.ts'
import type { AgentName, Parties } from './hostile-parties.ts'
import { type Mint, newJti, type Pattern, type Signer, secondsNow } from './hostile-tokens.ts'
import type { House } from './house.ts'

/** What tokens of these parties are made of. */
export const newMint = (house: House, parties: Parties, issued: Mint['issued']): Mint => ({
  house,
  patterns: patternsOf(house, parties, issued),
  signers: signersOf(parties),
  issued,
  known: {
    issuer: house.config.issuer,
    endpoint: `${house.config.issuer}/oauth2/token`,
    user: parties.story.user.id,
    'another user': parties.stranger.user.id,
    upstream: parties.upstream.issuer,
    audience: parties.story.audience.issuer,
    ...Object.fromEntries(
      Object.entries(parties.agents).map(([name, { client_id }]) => [name, client_id]),
    ),
    clients: [parties.agents.secret.id, parties.agents.keyed.id],
    jkt: { jkt: parties.dpop.jkt },
    jwk: parties.dpop.jwk,
  },
})

/** Every kind of token (TV-60), as those would be who may make it. */
function patternsOf(
  house: House,
  parties: Parties,
  issued: Mint['issued'],
): Record<string, Pattern> {
  const { agents, story, upstream, silent, making } = parties
  const { issuer } = house.config
  const now = () => secondsNow(house)
  const nonceKeys = dpopNonceKeys(house.config.keyEncryptionKeys ?? [])
  const times = (seconds = 300) => ({ iat: now(), exp: now() + seconds })
  const self = (name: AgentName) => {
    const { id } = agents[name]
    return { iss: id, sub: id, aud: issuer, jti: newJti(), ...times(120) }
  }
  const user = { iss: issuer, sub: story.user.id, auth_time: now(), amr: ['pwd'] }
  const pattern = (typ: string | undefined, by: string, claims: () => object): Pattern => ({
    typ,
    by,
    claims: () => ({ ...claims() }),
  })
  return {
    'an ID token': pattern(TYP.idToken, 'this server', () => decodeJwt(issued('secret id_token'))),
    'an access token': pattern(TYP.accessToken, 'this server', () =>
      decodeJwt(issued('secret access_token')),
    ),
    'an ID-JAG': pattern(TYP.idJag, 'this server, for ID-JAGs', () => ({
      ...user,
      ...{ aud: story.audience.issuer, client_id: 'client-at-paperclip', jti: newJti() },
      ...times(),
    })),
    'a seal': pattern(TYP.seal, 'this server, for seals', () => ({ ...user, ...times() })),
    'a logout token': pattern('logout+jwt', 'this server', () => ({
      ...{ iss: issuer, sub: story.user.id, aud: agents.secret.id, jti: newJti() },
      ...{ events: { 'http://schemas.openid.net/event/backchannel-logout': {} }, ...times() },
    })),
    'a client assertion': pattern(TYP.clientAssertion, 'keyed', () => self('keyed')),
    'an actor token': pattern(TYP.actorToken, 'actor', () => ({
      ...self('actor'),
      client_id: agents.keyed.id,
    })),
    'a DPoP proof': pattern(TYP.dpopProof, 'the DPoP key', () => ({
      ...{ htm: 'POST', htu: `${issuer}/oauth2/token`, jti: newJti(), iat: now() },
      ...(house.config.dpopNonces && { nonce: currentNonce(nonceKeys, house.clock.now) }),
    })),
    'an ID token of the upstream': pattern(undefined, 'upstream', () => ({
      ...{ iss: upstream.issuer, sub: 'kim', aud: CLIENT, ...times() },
    })),
    'an ID token of somebody new': pattern(undefined, 'making', () => ({
      ...{ iss: making.issuer, sub: newJti(), aud: CLIENT, ...times() },
    })),
    'an ID token of the silent': pattern(undefined, 'upstream', () => ({
      ...{ iss: silent, sub: 'kim', aud: CLIENT, ...times() },
    })),
  }
}

function signersOf({ agents, dpop, upstream, making }: Parties): Record<string, Signer> {
  const by = (key: webcrypto.CryptoKey | undefined, header: object): Signer => ({
    key: KeyObject.from(key as webcrypto.CryptoKey),
    alg: 'ES256',
    header,
  })
  const byIssuer = ({ key }: FakeIssuer) => by(key.privateKey, { kid: key.jwk.kid as string })
  const agent = (name: AgentName) =>
    by(agents[name].privateKey, { kid: agents[name].jwk?.kid as string })
  return {
    'this server': { purpose: 'id_token', alg: 'ES256' },
    'this server, by RSA': { purpose: 'id_token', alg: 'RS256' },
    'this server, for ID-JAGs': { purpose: 'id_jag', alg: 'ES256' },
    'this server, for seals': { purpose: 'seal', alg: 'ES256' },
    keyed: agent('keyed'),
    bound: agent('bound'),
    published: agent('published'),
    actor: agent('actor'),
    subactor: agent('subactor'),
    upstream: byIssuer(upstream),
    making: byIssuer(making),
    'the DPoP key': by(dpop.privateKey, { jwk: dpop.jwk }),
  }
}

import Type from 'typebox'

/** For the API reference: these documents leave as prepared text. */
const Document = (description: string) =>
  Type.Object({}, { description, additionalProperties: true })

export const Metadata = Document('Metadata as RFC 8414 and OpenID Connect Discovery name it')
export const Jwks = Document('A JWK Set (RFC 7517)')
export const PublicClient = Document('A client ID metadata document')
export const Transmitter = Document('Transmitter configuration metadata as SSF 1.0 names it')

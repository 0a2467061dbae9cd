/**
 * A custody in one file: keys that a key management service keeps and uses, reached over HTTP. The service of
 * a cloud differs in its names; what it has to do is the same. Used with
 * KEY_CUSTODY=file:///srv/agent-idp/http-custody.ts and KMS_URL, KMS_TOKEN in the environment. It runs wherever
 * it is copied to: of agent-idp it takes types alone, and Node.js leaves those out.
 */
import { createHash } from 'node:crypto'
import type { Custody, OpenCustody } from '../../src/keys/custody.ts'

/** By this name the server knows that the words are for its operator. */
class CustodyError extends Error {
  override name = 'CustodyError'
}

// biome-ignore lint/suspicious/noExplicitAny: whatever the service tells
type Answer = any

export const openCustody: OpenCustody = async () => {
  const { KMS_URL, KMS_TOKEN } = process.env
  if (!KMS_URL || !KMS_TOKEN) throw new CustodyError('set KMS_URL and KMS_TOKEN')

  const closing = new AbortController()

  /** One call. What went wrong is told in words, and without the token. */
  const ask = async (method: string, path: string, body?: object): Promise<Answer> => {
    const answer = await fetch(`${KMS_URL}${path}`, {
      method,
      headers: { authorization: `Bearer ${KMS_TOKEN}`, 'content-type': 'application/json' },
      body: body ? JSON.stringify(body) : null,
      // A request for a token waits for this.
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(5_000)]),
    }).catch((cause) => {
      throw new CustodyError('the key management service does not answer', { cause })
    })
    if (method === 'GET' && answer.status === 404) return undefined
    if (!answer.ok) {
      throw new CustodyError(
        `the key management service answered ${answer.status} to ${method} ${path}`,
      )
    }
    return answer.status === 204 ? {} : ((await answer.json()) as Answer)
  }

  const custody: Custody = {
    name: 'http',
    async generate({ purpose, alg }) {
      // The public key as a JWK (RFC 7517), and what the service calls the private one.
      const { id, public_jwk } = await ask('POST', '/keys', { alg, label: `agent-idp ${purpose}` })
      return { public_jwk, reference: `http:${id}` }
    },
    async open({ alg, reference }) {
      const path = `/keys/${nameOf(reference)}/sign`
      return async (input) => {
        const { signature } = await ask('POST', path, { alg, input: input.toString('base64') })
        // JOSE wants r and s of an ECDSA signature side by side; a service that answers in DER needs a conversion.
        return Buffer.from(signature, 'base64')
      }
    },
    async destroy({ kid, reference }) {
      const path = `/keys/${nameOf(reference)}`
      const found = await ask('GET', path)
      if (found && thumbprint(found.public_jwk) !== kid) {
        throw new CustodyError(`${reference} is another key than ${kid}`)
      }
      if (found) await ask('DELETE', path)
    },
    async close() {
      closing.abort()
    },
  }
  return custody
}

/** It comes from the database: nothing but what `generate` may have written goes into a path. */
function nameOf(reference: string): string {
  const [, name] = /^http:([A-Za-z0-9-]{1,64})$/.exec(reference) ?? []
  if (name === undefined) throw new CustodyError('this is no key of the key management service')
  return name
}

/** RFC 7638: these members and no others, in this order. It is the `kid` of the key. */
function thumbprint({ crv, e, kty, n, x, y }: Record<string, unknown>): string {
  const members = kty === 'RSA' ? { e, kty, n } : { crv, kty, x, y }
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

import { createPublicKey, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { signBytes } from '../../src/oauth/jws.ts'
import type { SigningAlg } from '../../src/oauth/signing-alg.ts'

/** A key management service as docs/examples/http-custody.ts wants it. Nobody gets a private key out of it. */
export async function startFakeKms(t: { after(end: () => unknown): void }) {
  const token = randomUUID()
  const keys = new Map<string, KeyObject>()
  const asked: string[] = []

  const answer = (method: string, path: string, body: Record<string, string>) => {
    const [, id = '', sign] = /^\/keys(?:\/([^/]+))?(\/sign)?$/.exec(path) ?? []
    if (method === 'POST' && id === '') {
      const { privateKey, publicKey } = makePair(body.alg as SigningAlg)
      const made = randomUUID()
      keys.set(made, privateKey)
      return { id: made, public_jwk: publicKey.export({ format: 'jwk' }) }
    }
    if (method === 'GET') {
      const found = keys.get(id)
      return found && { public_jwk: createPublicKey(found).export({ format: 'jwk' }) }
    }
    const key = keys.get(id)
    if (method === 'DELETE') return keys.delete(id) || true
    if (!key || !sign) return undefined
    const signature = signBytes(
      body.alg as SigningAlg,
      Buffer.from(body.input ?? '', 'base64'),
      key,
    )
    return { signature: signature.toString('base64') }
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method = '', url = '', headers } = request
    asked.push(`${method} ${url}`)
    if (headers.authorization !== `Bearer ${token}`) return response.writeHead(401).end()
    const text = Buffer.concat(chunks).toString()
    const told = answer(method, url, text === '' ? {} : JSON.parse(text))
    if (told === undefined) return response.writeHead(404).end()
    if (told === true) return response.writeHead(204).end()
    return response.writeHead(200).end(JSON.stringify(told))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, token, keys, asked, server }
}

function makePair(alg: SigningAlg) {
  if (alg === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  if (alg === 'ES384') return generateKeyPairSync('ec', { namedCurve: 'P-384' })
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519')
  return generateKeyPairSync('rsa', { modulusLength: 2048 })
}

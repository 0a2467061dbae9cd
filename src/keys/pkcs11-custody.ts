import { createPublicKey, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { verifyBytes } from '../oauth/jws.ts'
import { type Custody, CustodyError, type HeldKey, type OpenCustody } from './custody.ts'
import { hostEnvironment } from './pkcs11-environment.ts'
import { keepHost } from './pkcs11-link.ts'
import { startHost } from './pkcs11-process.ts'
import { jwkOf } from './pkcs11-public-key.ts'
import { type Pkcs11Uri, parsePkcs11Uri } from './pkcs11-uri.ts'
import { publicJwk, thumbprint } from './public-jwk.ts'

/**
 * Private keys in a token that speaks PKCS#11: a hardware security module, or SoftHSM. They are made in it
 * and cannot leave it. The vendor's module runs in a process of its own, pkcs11-host.ts, so that this one
 * holds no private key even of a token that is software.
 */
export const openCustody: OpenCustody = (setting) => openPkcs11Custody(setting, HOST)

const HOST = new URL('./pkcs11-host.ts', import.meta.url)
const NAME = 'pkcs11'

/** `program` is the host's. @throws {CustodyError} */
export async function openPkcs11Custody(setting: string, program: URL): Promise<Custody> {
  const { selector, modulePath, pin, environment } = parsePkcs11Uri(setting)
  const host = keepHost(
    async () => ({ op: 'open', modulePath, selector, pin: await readPin(pin) }),
    (onEnd) => startHost(program, hostEnvironment(environment), onEnd),
  )

  await host.ready()

  /** The CKA_ID of a key, when what the token has under it is the key of that `kid`. */
  async function findKey(key: HeldKey) {
    const id = idOf(key)
    const jwk = jwkOf(await host.ask({ op: 'find', id }))
    if (thumbprint(jwk) === key.kid) return { id, jwk }
    throw new CustodyError(`PKCS#11: ${key.reference} is another key than ${key.kid}`)
  }

  return {
    name: NAME,
    async generate({ purpose, alg }) {
      const label = `agent-idp ${purpose} ${alg}`
      const { id, publicKey } = await host.ask({ op: 'generate', alg, label })
      return { public_jwk: publicJwk(jwkOf(publicKey), alg), reference: `${NAME}:${id}` }
    },
    async open(key) {
      const { id, jwk } = await findKey(key)
      const sign = (input: Buffer) => host.ask({ op: 'sign', id, alg: key.alg, input })
      // That the objects lie side by side does not make them a pair.
      const probe = randomBytes(32)
      const publicKey = createPublicKey({ key: jwk, format: 'jwk' })
      if (verifyBytes(key.alg, probe, await sign(probe), publicKey)) return sign
      throw new CustodyError(
        `PKCS#11: the private key of ${key.reference} is not that of ${key.kid}`,
      )
    },
    async destroy(key) {
      await host.ask({ op: 'destroy', id: idOf(key), kid: key.kid })
    },
    close: () => host.close(),
  }
}

function idOf({ kid, reference }: HeldKey): string {
  const [, id] = /^pkcs11:([0-9a-f]{32})$/.exec(reference) ?? []
  if (id) return id
  throw new CustodyError(`PKCS#11: what is kept of signing key ${kid} names no key in a token`)
}

/** Anew for every login: a PIN may be changed while the server runs. */
async function readPin(pin: Pkcs11Uri['pin']): Promise<string> {
  if ('value' in pin) return pin.value
  try {
    const text = (await readFile(pin.path, 'utf8')).replace(/\r?\n$/, '')
    if (text !== '') return text
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CustodyError(`KEY_CUSTODY: the file of pin-source cannot be read (${code})`)
  }
  throw new CustodyError('KEY_CUSTODY: the file of pin-source is empty')
}

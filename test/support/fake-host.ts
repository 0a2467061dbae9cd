/**
 * What stands in for the host of a PKCS#11 module: it speaks as pkcs11-host.ts does and signs with keys that
 * lie open in FAKE_HOST_FOLDER. A file of that folder named for an operation says what goes wrong with the
 * next one: `lost`, `other`, `hang`, `crash` or `deaf`, which answers and then closes the channel but goes on.
 */
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CKK_EC } from '../../src/keys/cryptoki.ts'
import type { Asked, Fault, HostRequest } from '../../src/keys/pkcs11-host.ts'
import type { PublicKeyAttributes } from '../../src/keys/pkcs11-public-key.ts'
import { signBytes } from '../../src/oauth/jws.ts'

const folder = process.env.FAKE_HOST_FOLDER ?? ''

process.on('message', ({ number, request }: Asked) => {
  const plan = planned(request.op)
  if (plan === 'crash') process.exit(7)
  if (plan === 'hang') return
  if (plan && plan !== 'deaf')
    return answer({ number, fault: { message: plan, kind: plan as Fault['kind'] } })
  if (request.op === 'open' && request.pin !== 'right') {
    return answer({ number, fault: { message: 'the PIN is wrong', kind: 'pin' } })
  }
  answer({ number, answer: perform(request) })
  if (plan === 'deaf') goDeaf()
})
process.on('disconnect', () => process.exit())

function planned(op: string): string | undefined {
  appendFileSync(join(folder, 'log'), `${op}\n`)
  const path = join(folder, op)
  if (!existsSync(path)) return undefined
  const [plan, ...rest] = readFileSync(path, 'utf8').split(' ')
  if (rest.length > 0) writeFileSync(path, rest.join(' '))
  else rmSync(path)
  return plan
}

function goDeaf(): void {
  setInterval(() => undefined, 60_000)
  process.removeAllListeners('disconnect')
  process.once('disconnect', () => appendFileSync(join(folder, 'log'), 'deaf\n'))
  process.disconnect()
}

function perform(request: HostRequest): unknown {
  switch (request.op) {
    case 'generate': {
      const id = randomBytes(16).toString('hex')
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })
      writeFileSync(join(folder, id), pem, { mode: 0o600 })
      return { id, publicKey: publicKeyOf(id) }
    }
    case 'find':
      return publicKeyOf(request.id)
    case 'sign':
      return signBytes(request.alg, request.input, keyOf(request.id))
  }
}

const keyOf = (id: string) => createPrivateKey(readFileSync(join(folder, id)))

function publicKeyOf(id: string): PublicKeyAttributes {
  const { x = '', y = '' } = keyOf(id).export({ format: 'jwk' })
  const ecPoint = Buffer.concat([Buffer.of(4), ...[x, y].map((it) => Buffer.from(it, 'base64url'))])
  return { keyType: CKK_EC, ecParams: Buffer.from('06082a8648ce3d030107', 'hex'), ecPoint }
}

const answer = (message: unknown) => void process.send?.(message)

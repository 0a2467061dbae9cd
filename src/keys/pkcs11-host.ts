/**
 * The program that a PKCS#11 module runs in, apart from the server: a software token keeps its keys in the
 * memory of whoever loads it, and a vendor's library may block or crash. It serves the server alone, over
 * the channel it was forked with, and ends with it. It says nothing on its own: what fails goes back over
 * the channel.
 */
import type { SigningAlg } from '../oauth/signing-alg.ts'
import { CryptokiError, loadCryptoki } from './cryptoki.ts'
import { CustodyError } from './custody.ts'
import type { PublicKeyAttributes } from './pkcs11-public-key.ts'
import { PinRefusedError } from './pkcs11-slot.ts'
import { openToken, type Token } from './pkcs11-token.ts'
import type { TokenSelector } from './pkcs11-uri.ts'

export type OpenRequest = { op: 'open'; modulePath: string; selector: TokenSelector; pin: string }
export type HostRequest =
  | OpenRequest
  | { op: 'generate'; alg: SigningAlg; label: string }
  | { op: 'find'; id: string }
  | { op: 'sign'; id: string; alg: SigningAlg; input: Buffer }
  | { op: 'destroy'; id: string; kid: string }
  | { op: 'close' }
export type HostAnswers = {
  open: undefined
  generate: { id: string; publicKey: PublicKeyAttributes }
  find: PublicKeyAttributes
  sign: Buffer
  destroy: undefined
  close: undefined
}
/**
 * `pin`: it must not be tried again. `lost`: another host may do what this one cannot do any more. `module`: nobody
 * knows what the module meant; if it goes on so, another host may do better.
 */
export type Fault = { message: string; kind: 'pin' | 'lost' | 'module' | 'other' }
export type Asked = { number: number; request: HostRequest }
export type Answered = { number: number } & ({ answer: unknown } | { fault: Fault })

/** The session, the login, the token or the object behind a handle is not there any more. */
const LOST = new Set([
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SESSION_CLOSED',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_KEY_HANDLE_INVALID',
  'CKR_SLOT_ID_INVALID',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_DEVICE_REMOVED',
  'CKR_DEVICE_ERROR',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
])

let token: Token | undefined
const underWay = new Set<Promise<unknown>>()

process.on('message', ({ number, request }: Asked) => {
  const work = perform(request).then(
    (answer) => reply({ number, answer }),
    (error) => reply({ number, fault: faultOf(error) }),
  )
  underWay.add(work)
  void work.then(() => underWay.delete(work))
})

// Not `exit`, which waits for threads, and one may wait for the token.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))

// They go to a whole group of processes. The server finishes its requests then and needs signatures for it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)

async function perform(request: HostRequest): Promise<unknown> {
  if (request.op === 'open') {
    const { modulePath, selector, pin } = request
    token = openToken(loadCryptoki(modulePath), selector, pin)
    return
  }
  if (!token) throw new CustodyError('the token is not open')
  switch (request.op) {
    case 'generate':
      return token.generate(request.alg, request.label)
    case 'find':
      return token.find(request.id)
    case 'sign':
      return token.sign(request.id, request.alg, request.input)
    case 'destroy':
      return token.destroy(request.id, request.kid)
    case 'close': {
      const closing = token
      token = undefined
      // Itself is not among them yet.
      await Promise.allSettled(underWay)
      return closing.close()
    }
  }
}

/** Nobody is left to hear of a failure. */
function reply(message: Answered): void {
  process.send?.(message, undefined, undefined, () => undefined)
}

function faultOf(error: unknown): Fault {
  if (error instanceof PinRefusedError) return { message: error.message, kind: 'pin' }
  if (error instanceof CryptokiError) {
    return { message: error.message, kind: LOST.has(error.ckr) ? 'lost' : 'module' }
  }
  if (error instanceof CustodyError) return { message: error.message, kind: 'other' }
  return { message: `the PKCS#11 host failed: ${error}`, kind: 'other' }
}

import {
  CKF_SERIAL_SESSION,
  CKF_TOKEN_INITIALIZED,
  CKF_USER_PIN_FINAL_TRY,
  CKF_USER_PIN_LOCKED,
  CKU_USER,
  type Cryptoki,
  type CryptokiError,
  type Handle,
  type TokenInfo,
} from './cryptoki.ts'
import { CustodyError } from './custody.ts'
import type { TokenSelector } from './pkcs11-uri.ts'

/** The token did not take the PIN. Trying the same one again would lock it. */
export class PinRefusedError extends CustodyError {}

/** The slot of the one token that is meant. @throws {CustodyError} naming the tokens there are */
export function findSlot(cryptoki: Cryptoki, selector: TokenSelector): Handle {
  const tokens = cryptoki
    .C_GetSlotList(true)
    .map((slot) => ({ slot, info: cryptoki.C_GetTokenInfo(slot) }))
    .filter(({ info }) => info.flags & CKF_TOKEN_INITIALIZED)
  const meant = tokens.filter(({ slot, info }) => isMeant(selector, slot, info))
  const [one] = meant
  if (one && meant.length === 1) return one.slot
  const list = tokens.map(({ info }) => inWords(info)).join(', ')
  throw new CustodyError(
    `${one ? 'several tokens fit' : 'no token fits'} KEY_CUSTODY; the module shows ${list || 'none'}`,
  )
}

/**
 * Holds the login: it lasts as long as a session is open.
 * @throws {PinRefusedError|CryptokiError}; another {CustodyError} for a token that has to be mended: the same PIN is
 *   to be tried after that
 */
export function logIn(cryptoki: Cryptoki, slot: Handle, pin: string): void {
  const { flags } = cryptoki.C_GetTokenInfo(slot)
  if (flags & CKF_USER_PIN_LOCKED) throw new CustodyError(MENDING.CKR_PIN_LOCKED)
  if (flags & CKF_USER_PIN_FINAL_TRY) {
    throw new CustodyError(
      'one more wrong PIN would lock the token, so this one was not tried: log in to it by other means first, which makes the token forget the wrong ones',
    )
  }
  const session = cryptoki.C_OpenSession(slot, CKF_SERIAL_SESSION)
  try {
    cryptoki.C_Login(session, CKU_USER, pin)
  } catch (error) {
    const { ckr, message } = error as CryptokiError
    if (ckr === 'CKR_USER_ALREADY_LOGGED_IN') return
    const mending = MENDING[ckr as keyof typeof MENDING]
    if (mending) throw new CustodyError(`${message}: ${mending}`)
    const advice = ADVICE[ckr as keyof typeof ADVICE]
    throw advice ? new PinRefusedError(`${message}: ${advice}`) : error
  }
}

const ADVICE = {
  CKR_PIN_INCORRECT:
    'the PIN is wrong. It is not tried again, for that would lock the token: mend pin-source or pin-value in KEY_CUSTODY',
  CKR_PIN_INVALID: 'the PIN has characters that the token does not take',
  CKR_PIN_LEN_RANGE: 'the PIN is shorter or longer than the token takes',
  CKR_PIN_EXPIRED: 'the PIN has expired: set a new one',
}

/** What is wrong with the token and not with the PIN. */
const MENDING = {
  CKR_PIN_LOCKED: 'the PIN is locked: the security officer of the token has to set it anew',
  CKR_USER_PIN_NOT_INITIALIZED: 'the token has no user PIN yet: its security officer has to set it',
}

function isMeant(selector: TokenSelector, slot: Handle, info: TokenInfo): boolean {
  const { token, serial, manufacturer, model, 'slot-id': slotId } = selector
  const pairs = [
    [token, padless(info.label)],
    [serial, padless(info.serialNumber)],
    [manufacturer, padless(info.manufacturerID)],
    [model, padless(info.model)],
    [slotId, numberOf(slot)],
  ]
  return pairs.every(([wanted, found]) => wanted === undefined || wanted === found)
}

/** As text it came from outside, and goes to a log. */
const inWords = ({ label, serialNumber }: TokenInfo) =>
  `${JSON.stringify(padless(label))} (serial ${JSON.stringify(padless(serialNumber))})`

/** Fields of fixed width are filled with blanks, by some modules with zero bytes. */
const padless = (text: string) => text.replace(/[ \0]+$/, '')

/** A CK_ULONG: eight bytes, on Windows four. */
const numberOf = (slot: Handle) => slot.readUIntLE(0, Math.min(slot.length, 6))

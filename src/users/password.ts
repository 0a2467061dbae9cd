/**
 * Passwords: argon2id with OWASP's parameters (SE-07). Each hash takes 19 MiB and some 20 ms of a core, so a
 * process runs few at a time and lets few wait; beyond that it says so instead of falling over.
 */
import { hash, verify } from '@node-rs/argon2'

/** Half of libuv's threads: DNS and files need the other half. */
const RUNNING = 2
const WAITING = 32
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 }

/** What an unknown user's password is compared with, so that the time taken does not tell: nobody's hash. */
const NOBODY = `$argon2id$v=19$m=${COST.memoryCost},t=${COST.timeCost},p=1$${'A'.repeat(22)}$${'A'.repeat(43)}`

/** More passwords are being hashed than this process takes on; try again in a moment. */
export class TooBusy extends Error {
  override name = 'TooBusy'
}

/** @throws {TooBusy} */
export const hashPassword = (password: string): Promise<string> =>
  inTurn(() => hash(normalised(password), COST))

/**
 * Whether the password is the one of this hash. Without a hash the answer is no, after the same work.
 * @throws {TooBusy}
 */
export function verifyPassword(kept: string | undefined, password: string): Promise<boolean> {
  return inTurn(async () => {
    const same = await verify(kept ?? NOBODY, normalised(password))
    return same && kept !== undefined
  })
}

/** The same password typed on two keyboards is one password (NIST SP 800-63B §3.1.1.2). */
const normalised = (password: string) => password.normalize('NFKC')

let running = 0
const waiting: (() => void)[] = []

async function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
  if (running < RUNNING) running += 1
  else if (waiting.length < WAITING) {
    // Whoever finishes hands its place over, so `running` stays as it is.
    await new Promise<void>((resolve) => waiting.push(resolve))
  } else throw new TooBusy('Too many passwords are being checked')
  try {
    return await work()
  } finally {
    const next = waiting.shift()
    if (next) next()
    else running -= 1
  }
}

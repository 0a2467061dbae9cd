import { CKF_SERIAL_SESSION, type Cryptoki, type Handle } from './cryptoki.ts'

/** Runs `work` in a session that nobody else uses meanwhile. */
export type InSession = <T>(work: (session: Handle) => Promise<T>) => Promise<T>

/** A session does one thing at a time (PKCS #11 §5.1), so there are several, and a queue before each. */
export function openSessions(
  cryptoki: Cryptoki,
  slot: Handle,
  { flags, number }: { flags: number; number: number },
): InSession {
  const open = () => cryptoki.C_OpenSession(slot, CKF_SERIAL_SESSION | flags)
  const queues = Array.from({ length: number }, () =>
    queueFor(open, (session) => cryptoki.C_CloseSession(session)),
  )
  let turn = 0
  return (work) => (queues[turn++ % number] as InSession)(work)
}

function queueFor(open: () => Handle, close: (session: Handle) => void): InSession {
  let session: Handle | undefined
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const turn = last.then(async () => {
      session ??= open()
      try {
        return await work(session)
      } catch (error) {
        // What was begun in it may be under way for the token still, which would refuse all that comes.
        try {
          close(session)
        } catch {
          // It is gone already.
        }
        session = undefined
        throw error
      }
    })
    last = turn.catch(() => undefined)
    return turn
  }
}
